package coffer

import (
	"context"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/store"
)

// Resize sets the size limit of the volume, while it is used: to at most what the
// configuration says (persistentFileSystemSize), which is measured with the enclave;
// 0 is just that. ErrSize; *store.ErrTooSmall if what is in the volume does not fit.
func (v *Volume) Resize(ctx context.Context, bytes int64) error {
	switch {
	case bytes == 0:
		bytes = v.limit
	case bytes > v.limit:
		return fmt.Errorf("%w: %d bytes, and the configuration allows %d", ErrSize, bytes, v.limit)
	}
	if err := v.Sync(); err != nil {
		return err
	}
	return v.store.Resize(ctx, bytes)
}

// CloneSnapshot makes, with the options to, a new volume of what a snapshot of v
// holds. It has an identity and keys of its own, and the size that its configuration
// says; s, of NewSecret, will open it. progress, which may be nil, is called now and
// then with how many bytes were copied. After an error there is no whole volume.
func (v *Volume) CloneSnapshot(ctx context.Context, name string, to Options, s store.Secret, progress func(bytes int64)) error {
	to, err := to.checkPersistent()
	if err != nil {
		return err
	}
	p, err := v.store.FindSnapshot(name)
	if err != nil {
		return err
	}
	a, err := to.anchor()
	if err != nil {
		return err
	}
	defer closeAnchor(a)
	st, err := createStore(ctx, to.Volume, to.Config.PersistentFileSystemSize, s, a, "coffer clone")
	if err != nil {
		return err
	}
	return errors.Join(v.store.CloneSnapshot(ctx, p.ID, st, progress), st.Close())
}

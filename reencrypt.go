package coffer

import (
	"context"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/migrate"
)

// Reencrypt brings the volume, while it is used, under the key that the configuration
// names, if it is not: after a handover, or when the KDS has a newer generation of its
// master key. It may be stopped, and goes on where it was. It can't be called off, and
// Rewrap is not looked at. ErrMigrating if a migration is under way.
func (v *Volume) Reencrypt(ctx context.Context, with MigrateOptions) (migrate.Summary, error) {
	if !v.migrating.TryLock() {
		return migrate.Summary{}, fmt.Errorf("re-encrypt: %w", ErrMigrating)
	}
	defer v.migrating.Unlock()
	o, anchor := v.opened()
	s, err := o.secret(ctx)
	if err != nil {
		return migrate.Summary{}, fmt.Errorf("re-encrypt: %w", err)
	}
	defer s.Key.Destroy()
	mo := migrate.Options{New: s, Control: with.Control, Progress: with.Progress, Logger: o.Logger}
	if anchor != nil {
		mo.Anchor = anchor
	}
	sum, err := migrate.Live(ctx, v.store, mo)
	if err != nil {
		err = fmt.Errorf("re-encrypt: %w", err)
	}
	return sum, err
}

// upgrade is the re-encryption, in the background, of a volume that was handed over.
type upgrade struct {
	stop func()
	done chan struct{}
	err  error // once done is closed
}

// beginUpgrade re-encrypts the volume beside its use, until it is closed.
func (v *Volume) beginUpgrade() {
	ctx, stop := context.WithCancel(context.Background())
	u := &upgrade{stop: stop, done: make(chan struct{})}
	v.upgrade = u
	go func() {
		defer close(u.done)
		sum, err := v.Reencrypt(ctx, MigrateOptions{})
		switch u.err = err; {
		case err == nil:
			v.Options().Logger.Info("the volume that was handed over is under this enclave's own key", "bytes", sum.Bytes, "took", sum.Took)
		case !errors.Is(err, context.Canceled):
			v.Options().Logger.Error("the volume that was handed over is not under this enclave's own key yet: the next opening goes on", "error", err)
		}
	}()
}

// HandedOver reports whether the volume was opened by what another enclave handed
// over. Unless KeepHandedOver was set, Upgraded tells what becomes of that.
func (v *Volume) HandedOver() bool { return v.handedOver }

// Upgraded returns when a volume that was handed over is under this enclave's own
// key, or why it is not. It returns at once if there is nothing to be done.
func (v *Volume) Upgraded(ctx context.Context) error {
	if v.upgrade == nil {
		return nil
	}
	select {
	case <-v.upgrade.done:
		return v.upgrade.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end stops it, and waits.
func (u *upgrade) end() {
	if u != nil {
		u.stop()
		<-u.done
	}
}

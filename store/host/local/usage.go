package local

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// Usage is what a volume takes on this machine, and what is left.
type Usage struct {
	SegmentBytes int64 // files of segments, with their unused room
	SpareBytes   int64 // files kept for new segments
	HeldBytes    int64 // files of deleted segments that points keep
	CatalogBytes int64
	FreeBytes    int64 // what the file system would still give us
}

// Usage looks at the directory.
func (v *Volume) Usage(ctx context.Context) (u Usage, err error) {
	done, err := v.use(ctx)
	if err != nil {
		return Usage{}, fmt.Errorf("usage of volume: %w", err)
	}
	defer done()
	u, err = v.tree.usage()
	if err != nil {
		return Usage{}, fmt.Errorf("usage of volume: %w", err)
	}
	return u, nil
}

// HeldBytes is how much the volume's points keep of segments that were deleted.
func (v *Volume) HeldBytes(ctx context.Context) (int64, error) {
	done, err := v.use(ctx)
	if err != nil {
		return 0, fmt.Errorf("usage of points: %w", err)
	}
	defer done()
	_, n, err := v.tree.listPoints()
	return n, err
}

func (t *tree) usage() (u Usage, err error) {
	infos, err := t.list()
	if err != nil {
		return u, err
	}
	for _, info := range infos {
		u.SegmentBytes += info.Size
	}
	if dir, names, err := t.spares(); err == nil {
		dir.Close()
		for _, name := range names {
			u.SpareBytes += spareCapacity(name)
		}
	}
	if _, u.HeldBytes, err = t.listPoints(); err != nil {
		return u, err
	}
	st, err := statAt(t.root, catalogName)
	if err != nil {
		return u, err
	}
	u.CatalogBytes = st.Size
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(int(t.root.Fd()), &fs) }); err != nil {
		return u, err
	}
	u.FreeBytes = int64(fs.Bavail) * fs.Bsize
	return u, nil
}

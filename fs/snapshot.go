package fs

import (
	"context"
	"fmt"

	"github.com/coffer-fs/coffer/store"
)

// Snapshot is a state of the filesystem that is kept.
type Snapshot = store.Snapshot

// TakeSnapshot keeps the present state under a name, durably: all that was done
// before is in it, and all of it or nothing of what is being done. It takes no
// longer for a large filesystem than for a small one.
func (f *Tree) TakeSnapshot(ctx context.Context, name string) (Snapshot, error) {
	if err := f.flush(ctx); err != nil {
		return Snapshot{}, fmt.Errorf("take snapshot: %w", wrap(err))
	}
	p, err := f.st.TakeSnapshot(ctx, name, func(tx *store.Tx) (uint64, error) {
		s, err := getSuper(tx)
		return uint64(s.nextIno), err
	})
	return p, err
}

// TakeSnapshot keeps the present state under a name: see Tree.TakeSnapshot.
// store.ErrSnapshotName, ErrSnapshotExists, ErrSnapshots, ErrFull.
func (f *FS) TakeSnapshot(name string) (Snapshot, error) {
	return f.tree.TakeSnapshot(context.Background(), name)
}

// Snapshots lists the snapshots, oldest first.
func (f *FS) Snapshots() []Snapshot { return f.tree.st.Snapshots() }

// DeleteSnapshot deletes a snapshot, durably. What it alone held on to becomes free
// in the background. store.ErrNoSnapshot.
func (f *FS) DeleteSnapshot(name string) error {
	return f.tree.st.DeleteSnapshot(context.Background(), name)
}

// OpenSnapshot opens what a snapshot keeps as a filesystem of its own, which can only
// be read. It must be closed before the volume is. Once the snapshot is deleted its
// calls give ESTALE. store.ErrNoSnapshot.
func (f *FS) OpenSnapshot(name string) (*FS, error) {
	return OpenSnapshot(context.Background(), f.tree.st, name, f.tree.options)
}

// OpenSnapshot opens what a snapshot of a volume keeps: see FS.OpenSnapshot.
func OpenSnapshot(ctx context.Context, st *store.Store, name string, o Options) (*FS, error) {
	p, err := st.FindSnapshot(name)
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	o.ReadOnly = true
	return open(ctx, st, o, func(ctx context.Context, fn func(*store.Tx) error) error {
		return st.ViewSnapshot(ctx, p.ID, fn)
	})
}

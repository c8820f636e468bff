// Package local keeps a volume in a directory of this machine.
//
//	VOLUME/catalog.db           records and the epoch of the lease, in bbolt
//	VOLUME/segments/N.seg       segments; the directory is the only list of them
//	VOLUME/spare/CAPACITY.N     files of deleted segments, for new ones
//	VOLUME/tails                where the appends to each segment ended (tails.go)
//	VOLUME/points/NAME/         a point: its manifest and links to its segments (points.go)
//	VOLUME/incoming, arrived    what comes by a transfer (incoming.go, arrive.go)
//	VOLUME/forget               there while no file may be kept (forget.go)
//	VOLUME/fence, turn, lock.E  who may write (fence.go, lease.go)
//
// It promises what host.Volume promises, among processes as among handles in
// one process. What has to be durable is so by fsync and fdatasync alone:
//
//	Swap             the two fdatasyncs of a bbolt commit
//	Sync             fdatasync of each segment appended to; once for each new
//	                 segment, instead, fsync of the file and of segments/
//	Create, Delete   nothing; a crash may undo them
//
// A segment's room is set aside when it is created, so its file has its full
// capacity from then on, and Segments reports that.
//
// It refuses to follow symbolic links inside the directory, to open anything
// but regular files there, and to hand a catalog to bbolt that could make it
// crash. Files that do not belong there are ignored. A failed sync is final for
// the writer: all its later changes fail with that error.
//
// For the host's side, and for debug builds; never for a release enclave, where
// bbolt's shared mapping neither works nor can be trusted.
//
// Lock order, from the outside in. Those marked * are flocks and hold among
// processes:
//
//	Volume.mu or writer.mu (shared by calls)
//	  turn* > fence*
//	    appender.syncing > appender.mu > writer.state, tails.mu
//	    tree.catalog > catalog.db*
//	    tree.copies
//	    files.mu
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
)

// Volume is an open volume. It implements host.Volume.
type Volume struct {
	mu     sync.RWMutex // shared by calls, exclusive for Close
	closed bool
	tree   *tree
}

var _ host.Volume = (*Volume)(nil)

// Open opens the volume in dir. ErrNotFound if there is none, ErrDamaged if
// its catalog is damaged. Reading needs no permission to write.
func Open(dir string) (*Volume, error) {
	t, err := openTree(dir)
	if err != nil {
		return nil, fmt.Errorf("open volume %q: %w", dir, err)
	}
	if _, err := t.epoch(context.Background()); err != nil {
		t.drop()
		return nil, fmt.Errorf("open volume %q: %w", dir, err)
	}
	return &Volume{tree: t}, nil
}

// Close implements host.Volume. It waits for calls under way.
func (v *Volume) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil
	}
	v.closed = true
	v.tree.drop()
	return nil
}

// use keeps the volume open until the returned function is called.
func (v *Volume) use(ctx context.Context) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v.mu.RLock()
	if v.closed {
		v.mu.RUnlock()
		return nil, errClosed
	}
	return v.mu.RUnlock, nil
}

// Get implements host.Reader.
func (v *Volume) Get(ctx context.Context, name string) (host.Record, error) {
	done, err := v.use(ctx)
	if err != nil {
		return host.Record{}, fmt.Errorf("get record %q: %w", name, err)
	}
	defer done()
	return v.tree.get(ctx, name)
}

// Read implements host.Reader. Other than a writer it cannot know which files
// were replaced meanwhile, so it looks each time.
func (v *Volume) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (int, error) {
	done, err := v.use(ctx)
	if err != nil {
		return 0, fmt.Errorf("read segment %d: %w", id, err)
	}
	defer done()
	v.tree.files.forgetReplaced(id)
	return v.tree.read(id, off, p)
}

// Segments implements host.Reader.
func (v *Volume) Segments(ctx context.Context) ([]host.SegmentInfo, error) {
	done, err := v.use(ctx)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	defer done()
	return v.tree.list()
}

// tree is the open directory. A Volume and its writers hold it together.
type tree struct {
	root     *os.File
	segments *os.File
	files    *files
	fence    *fence
	catalog  catalog
	copies   sync.Mutex // one copies a segment, or removes what copies were cut off

	mu   sync.Mutex
	refs int // guarded by mu
}

func openTree(dir string) (*tree, error) {
	t, err := openTreeOnly(dir)
	if err == nil && !exists(t.root, catalogName) {
		defer t.drop()
		if names, err := readNames(t.segments); err == nil && len(names) > 0 {
			return nil, damaged(fmt.Errorf("%s is missing, and there are segments", catalogName))
		}
		return nil, fmt.Errorf("no %s in it, so it is not a volume: %w", catalogName, host.ErrNotFound)
	}
	return t, err
}

// openTreeOnly is openTree for a directory that may have no catalog.
func openTreeOnly(dir string) (*tree, error) {
	root, err := os.OpenFile(dir, os.O_RDONLY|sysDirectory, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no such directory: %w", host.ErrNotFound)
	case isNotDirectory(err):
		return nil, fmt.Errorf("not a directory: %w", host.ErrNotFound)
	case err != nil:
		return nil, err
	}
	if exists(root, incomingName) && !exists(root, catalogName) {
		root.Close()
		return nil, ErrPartial
	}
	segments, err := openDir(root, segmentsName)
	if err != nil && !exists(root, catalogName) {
		root.Close()
		return nil, fmt.Errorf("no %s in it, so it is not a volume: %w", catalogName, host.ErrNotFound)
	}
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("%s: %w", segmentsName, damaged(err))
	}
	t := &tree{root: root, segments: segments, refs: 1}
	t.files = newFiles(segments)
	t.fence = &fence{root: root}
	t.catalog.root = root
	if exists(root, arrivedName) {
		if err := t.arrive(context.Background()); err != nil {
			t.drop()
			return nil, fmt.Errorf("put what was received in its place: %w", err)
		}
	}
	return t, nil
}

// keep adds a holder.
func (t *tree) keep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refs++
}

// drop removes a holder, and closes everything after the last one.
func (t *tree) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refs--; t.refs > 0 {
		return
	}
	t.files.close()
	t.fence.close()
	t.segments.Close()
	t.root.Close()
}

// InProcess implements host.InProcess: this package maps a bbolt file.
func (v *Volume) InProcess() {}

package local

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

// appender is a segment that this writer made.
type appender struct {
	id       host.SegmentID
	capacity int64
	tails    *tails

	syncing sync.Mutex // held during a sync, so that no other returns before it
	fresh   bool       // its existence is not durable; guarded by syncing
	lost    error      // a sync failed: the disk tells it once, and whoever waited has to know; guarded by syncing

	mu     sync.Mutex // after syncing
	file   *os.File   // nil while it is not needed
	tail   int64      // the next append goes here
	dirty  bool       // something was appended since the last sync began
	failed error      // an append failed halfway, so nobody knows the tail
	gone   bool       // deleted
}

// append writes p at off if that is the tail.
func (a *appender) append(dir *os.File, off int64, p []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.gone:
		return host.ErrNotFound
	case a.failed != nil:
		return fmt.Errorf("after a failed append: %w", a.failed)
	case off != a.tail:
		return fmt.Errorf("segment goes on at %d: %w", a.tail, host.ErrOffset)
	case int64(len(p)) > a.capacity-off:
		return fmt.Errorf("capacity is %d bytes: %w", a.capacity, host.ErrOffset)
	case len(p) == 0:
		return nil
	}
	if err := a.open(dir); err != nil {
		return err
	}
	a.dirty = true
	if err := a.tails.begin(a.id); err != nil {
		a.failed = err
		return err
	}
	if _, err := a.file.WriteAt(p, off); err != nil {
		a.failed = err
		return err
	}
	a.tail += int64(len(p))
	if err := a.tails.set(a.id, a.tail); err != nil {
		a.failed = err
		return err
	}
	if len(p) >= startWriting {
		// Only a hint: the sync that makes it durable comes later, and finds
		// little left to write.
		_ = beginWriting(a.file, off, int64(len(p)))
	}
	return nil
}

// startWriting is from how many bytes on an append is sent on its way to the disk at
// once, while what follows is being made.
const startWriting = 256 << 10

// open opens the file again after idle closed it. a.mu is held.
func (a *appender) open(dir *os.File) (err error) {
	if a.file == nil {
		a.file, err = openFile(dir, segmentName(a.id), unix.O_RDWR)
	}
	return err
}

// sync makes what was appended before durable, and the first time that there is
// such a segment.
func (a *appender) sync(dir *os.File) error {
	a.syncing.Lock()
	defer a.syncing.Unlock()
	if a.lost != nil {
		return a.lost
	}
	file := a.beginSync()
	if file == nil {
		return nil
	}
	if !a.fresh {
		a.lost = fdatasync(file)
	} else if a.lost = file.Sync(); a.lost == nil {
		a.lost = dir.Sync()
	}
	a.fresh = a.fresh && a.lost != nil
	return a.lost
}

// beginSync returns the file if there is something to sync. a.syncing is held,
// which keeps the file open.
func (a *appender) beginSync() *os.File {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone || !a.dirty && !a.fresh {
		return nil
	}
	a.dirty = false
	return a.file
}

// idle closes the file if nothing is left to sync: a file with unsynced bytes
// stays open, since an error in writing them back is told to its descriptor.
func (a *appender) idle() {
	a.syncing.Lock()
	defer a.syncing.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.dirty && !a.fresh {
		a.shut()
	}
}

// delete closes the file for good.
func (a *appender) delete() {
	a.syncing.Lock()
	defer a.syncing.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = true
	a.shut()
}

// shut closes the file. a.syncing and a.mu are held.
func (a *appender) shut() {
	if a.file != nil {
		a.file.Close()
		a.file = nil
	}
}

// newSegmentFile makes the file of a segment with all its room, from a spare if
// there is one. Nothing is left of it after an error.
func (t *tree) newSegmentFile(id host.SegmentID, capacity int64) (*os.File, error) {
	if exists(t.segments, segmentName(id)) {
		return nil, host.ErrExists
	}
	f, err := t.recycle(id, capacity)
	if f != nil || err != nil {
		return f, err
	}
	f, err = t.allocate(id, capacity)
	if !isNoSpace(err) {
		return f, err
	}
	t.sweepPoints()
	if _, err = t.removeSpares(); err == nil {
		f, err = t.allocate(id, capacity)
	}
	if isNoSpace(err) {
		err = fmt.Errorf("%w%s: %w", host.ErrNoSpace, t.heldText(), err)
	}
	return f, err
}

// allocate makes a segment's file from free space.
func (t *tree) allocate(id host.SegmentID, capacity int64) (*os.File, error) {
	f, err := openFile(t.segments, segmentName(id), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if errors.Is(err, unix.EEXIST) {
		return nil, host.ErrExists
	} else if err != nil {
		return nil, err
	}
	if err := setAside(f, capacity); err != nil {
		f.Close()
		return nil, errors.Join(err, removeAt(t.segments, segmentName(id), 0))
	}
	return f, nil
}

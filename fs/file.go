package fs

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/coffer-fs/coffer/store"
)

// file is a regular file in memory: while it is open, and while something of it
// is newer than the volume.
type file struct {
	ino Ino

	// Guarded by Tree.filesMu.
	refs   int
	orphan bool // it has no name, and goes when the last one drops it

	mu     sync.RWMutex
	loaded bool
	gone   bool // its data was deleted
	size   int64
	inline bool             // its contents are in inline items, block 0 not buffered
	excess bool             // extents may lie behind its size: see trim
	mtime  int64            // ns since 1970; 0 unless newer than the volume's
	atime  int64            // the same
	ctime  int64            // the same; if it is 0, mtime stands for it too
	blocks map[int64][]byte // buffered, by index, each BlockSize long
	cost   int              // of flushing it, as note has it
	edits  uint64           // grows when the contents change
}

// changed reports whether anything must be flushed. Callers hold mu.
func (h *file) changed() bool {
	return len(h.blocks) > 0 || h.mtime != 0 || h.atime != 0 || h.ctime != 0
}

// touch notes that the contents changed just now. Callers hold mu.
func (h *file) touch() {
	h.mtime = now()
	if h.ctime != 0 {
		h.ctime = h.mtime
	}
}

// hold returns the file in memory, making it if need be. The caller must drop it.
func (f *Tree) hold(i Ino) *file {
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	h := f.files[i]
	if h == nil {
		h = &file{ino: i}
		f.files[i] = h
	}
	h.refs++
	return h
}

// drop gives back what hold gave. The last one lets the file go, unless
// something of it is buffered; a file without a name is then deleted.
func (f *Tree) drop(ctx context.Context, h *file) {
	if f.release(h) && !f.waits(h.ino) {
		f.reapInMemory(ctx, h)
	}
}

// release is drop but for deleting: it reports whether that is to be done.
func (f *Tree) release(h *file) (reap bool) {
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	h.refs--
	if h.refs > 0 || h.orphan {
		return h.refs == 0
	}
	if !f.changed[h] { // nobody who could change that has it
		delete(f.files, h.ino)
	}
	return false
}

// isOpen reports whether somebody holds the file, or may come to hold it without
// reading its inode first. It may be called in an Update.
func (f *Tree) isOpen(i Ino) bool {
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	return f.files[i] != nil
}

// load reads size and kind of the file once. Callers hold mu for writing.
func (f *Tree) load(ctx context.Context, h *file) error {
	if h.gone {
		return syscall.ESTALE
	}
	if h.loaded {
		return nil
	}
	return f.view(ctx, func(tx *store.Tx) error {
		n, err := getInode(tx, h.ino)
		switch {
		case err != nil:
			return err
		case n.isDir():
			return syscall.EISDIR
		case !n.isReg():
			return syscall.EINVAL
		}
		_, h.excess, err = tx.Get(trimKey(h.ino))
		if err == nil {
			h.size, h.inline, h.loaded = n.size, n.flags&flagInline != 0, true
		}
		return err
	})
}

// overlay brings attributes up to what is buffered. What was buffered when the
// caller read them may be in the volume by now: see attrs.
func (f *Tree) overlay(a *Attr) {
	f.filesMu.Lock()
	h := f.files[a.Ino]
	f.filesMu.Unlock()
	if h == nil {
		return
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !h.loaded {
		return
	}
	a.Size = h.size
	if n := int64(len(h.blocks)) * BlockSize; n > 0 { // as much as it may come to
		a.Bytes = max(a.Bytes, min(a.Bytes+n, (h.size+BlockSize-1)/BlockSize*BlockSize))
	}
	if h.mtime != 0 {
		a.Mtime = fromNanos(h.mtime)
		if a.Ctime.Before(a.Mtime) {
			a.Ctime = a.Mtime
		}
	}
	if h.ctime != 0 {
		a.Ctime = fromNanos(h.ctime)
	}
	if h.atime != 0 {
		a.Atime = fromNanos(h.atime)
	}
}

// attrs calls read, which reads attributes from the volume and overlays them,
// until nothing went to the volume in between.
func (f *Tree) attrs(read func() error) error {
	for {
		before := f.settled.Load()
		if err := read(); err != nil {
			return wrap(err)
		}
		if f.settled.Load() == before {
			return nil
		}
	}
}

// atimeDay is after what time a file that is read gets a new access time, even
// if it was not changed since.
const atimeDay = 24 * time.Hour

// accessed updates the access time as relatime does. Callers hold no locks.
func (f *Tree) accessed(ctx context.Context, h *file, n inode) {
	t := now()
	if f.options.ReadOnly || n.atime > n.mtime && n.atime > n.ctime && t-n.atime < int64(atimeDay) {
		return
	}
	if h.accessedSince(t) || f.admit(ctx, fileCost) != nil {
		return
	}
	defer f.admitted(fileCost)
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.gone {
		h.atime = t
		f.note(h)
	}
}

// accessedSince reports whether the buffered access time is good enough at t.
func (h *file) accessedSince(t int64) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.gone || h.atime != 0 && t-h.atime < int64(atimeDay) && h.atime > h.mtime
}

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
	ino  Ino
	refs int // guarded by Tree.filesMu

	mu     sync.RWMutex
	loaded bool
	gone   bool // it has no name and no data any more
	orphan bool // it has no name, and its data goes when the last one drops it
	size   int64
	inline bool             // its contents are in inline items, block 0 not buffered
	mtime  int64            // ns since 1970; 0 unless newer than the volume's
	atime  int64            // the same
	blocks map[int64][]byte // buffered, by index, each BlockSize long
}

// changed reports whether anything must be flushed. Callers hold mu.
func (h *file) changed() bool { return len(h.blocks) > 0 || h.mtime != 0 || h.atime != 0 }

// hold returns the file in memory, making it if need be. The caller must drop it.
func (f *Tree) hold(i Ino) *file {
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	h := f.files[i]
	if h == nil {
		h = &file{ino: i, blocks: map[int64][]byte{}}
		f.files[i] = h
	}
	h.refs++
	return h
}

// drop gives back what hold gave. The last one lets the file go, unless
// something of it is buffered; a file without a name is then deleted.
func (f *Tree) drop(ctx context.Context, h *file) {
	h.mu.RLock()
	changed, orphan := h.changed(), h.orphan && !h.gone
	h.mu.RUnlock()
	f.filesMu.Lock()
	h.refs--
	last := h.refs == 0
	if last && !changed {
		delete(f.files, h.ino)
	}
	f.filesMu.Unlock()
	if last && orphan {
		f.reapInMemory(ctx, h)
	}
}

// isOpen reports whether somebody holds the file. It may be called in an
// Update.
func (f *Tree) isOpen(i Ino) bool {
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	h := f.files[i]
	return h != nil && h.refs > 0
}

// load reads size and kind of the file once. Callers hold mu for writing.
func (f *Tree) load(ctx context.Context, h *file) error {
	if h.gone {
		return syscall.ESTALE
	}
	if h.loaded {
		return nil
	}
	return f.st.View(ctx, func(tx *store.Tx) error {
		n, err := getInode(tx, h.ino)
		if err != nil {
			return err
		}
		if !n.isReg() {
			return syscall.EINVAL
		}
		h.size, h.inline, h.loaded = n.size, n.flags&flagInline != 0, true
		return nil
	})
}

// overlay brings attributes up to what is buffered.
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
	if h.mtime != 0 {
		a.Mtime = fromNanos(h.mtime)
		if a.Ctime.Before(a.Mtime) {
			a.Ctime = a.Mtime
		}
	}
	if h.atime != 0 {
		a.Atime = fromNanos(h.atime)
	}
}

// atimeDay is after what time a file that is read gets a new access time, even
// if it was not changed since.
const atimeDay = 24 * time.Hour

// accessed updates the access time as relatime does.
func (f *Tree) accessed(h *file, n inode) {
	t := now()
	if f.options.ReadOnly || n.atime > n.mtime && n.atime > n.ctime && t-n.atime < int64(atimeDay) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone || h.atime != 0 && t-h.atime < int64(atimeDay) && h.atime > h.mtime {
		return
	}
	defer f.note(h, h.changed())
	h.atime = t
}

package mount

import (
	"container/list"
	"errors"
	"os"
	"sync"

	"github.com/coffer-fs/coffer/fs"
)

// maxHandles bounds the files that are kept open.
const maxHandles = 1024

// handles are the files that were read or written lately, by inode. The kernel
// tells neither of open(2) nor of close(2): it was told that we need not know,
// which saves two requests a file. What has no name any more lives on until the
// kernel forgets it.
type handles struct {
	tree *fs.Tree

	mu     sync.Mutex
	byIno  map[fs.Ino]*list.Element // of *fs.Handle
	recent list.List                // the latest first
}

func newHandles(t *fs.Tree) *handles { return &handles{tree: t, byIno: map[fs.Ino]*list.Element{}} }

// get returns the handle of a file, nil if there is none.
func (hs *handles) get(i fs.Ino) *fs.Handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	e := hs.byIno[i]
	if e == nil {
		return nil
	}
	hs.recent.MoveToFront(e)
	return e.Value.(*fs.Handle)
}

// put keeps a handle that was just opened. If there is one already, or there are
// too many, one is closed: calls under way end well, later ones come back.
func (hs *handles) put(h *fs.Handle) {
	hs.mu.Lock()
	var old *fs.Handle
	if hs.byIno[h.Ino()] != nil {
		old = h
	} else {
		hs.byIno[h.Ino()] = hs.recent.PushFront(h)
		if hs.recent.Len() > maxHandles {
			old = hs.remove(hs.recent.Back())
		}
	}
	hs.mu.Unlock()
	shut(old)
}

// remove takes a handle out. Callers hold mu.
func (hs *handles) remove(e *list.Element) *fs.Handle {
	h := hs.recent.Remove(e).(*fs.Handle)
	delete(hs.byIno, h.Ino())
	return h
}

// forget closes the handle of a file, if there is one.
func (hs *handles) forget(i fs.Ino) {
	hs.mu.Lock()
	var old *fs.Handle
	if e := hs.byIno[i]; e != nil {
		old = hs.remove(e)
	}
	hs.mu.Unlock()
	shut(old)
}

// closeAll closes what is still open.
func (hs *handles) closeAll() {
	hs.mu.Lock()
	var left []*fs.Handle
	for hs.recent.Len() > 0 {
		left = append(left, hs.remove(hs.recent.Back()))
	}
	hs.mu.Unlock()
	for _, h := range left {
		shut(h)
	}
}

func shut(h *fs.Handle) {
	if h != nil {
		_ = h.Close() // closed once only; nothing else can fail
	}
}

// with calls do with the handle of a file, opening it if need be.
func (hs *handles) with(i fs.Ino, do func(*fs.Handle) error) error {
	for {
		h := hs.get(i)
		if h == nil {
			var err error
			if h, err = hs.tree.OpenInode(background, i); err != nil {
				return err
			}
			hs.put(h)
		}
		err := do(h)
		if !errors.Is(err, os.ErrClosed) || hs.get(i) == h {
			return err
		}
		// It was closed to make room before do could use it: once more.
	}
}

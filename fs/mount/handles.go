package mount

import (
	"container/list"
	"sync"
	"sync/atomic"

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
	byIno  map[fs.Ino]*list.Element // of *handle
	recent list.List                // the latest first
}

// handle is closed by the last one who uses it, so that nobody waits for the host on
// behalf of another: being among the handles is a use too.
type handle struct {
	*fs.Handle
	users atomic.Int32
}

func (h *handle) release() {
	if h.users.Add(-1) == 0 {
		_ = h.Close() // closed once only; nothing else can fail
	}
}

func newHandles(t *fs.Tree) *handles { return &handles{tree: t, byIno: map[fs.Ino]*list.Element{}} }

// get returns the handle of a file, nil if there is none. The caller must release it.
func (hs *handles) get(i fs.Ino) *handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	e := hs.byIno[i]
	if e == nil {
		return nil
	}
	hs.recent.MoveToFront(e)
	h := e.Value.(*handle)
	h.users.Add(1)
	return h
}

// put keeps a handle that was just opened, or, if there is one already, closes it, and
// returns the one that is kept. The caller must release it. If there are too many the
// least recent one goes.
func (hs *handles) put(opened *fs.Handle) *handle {
	h := &handle{Handle: opened}
	h.users.Store(2)
	hs.mu.Lock()
	var old *handle
	if e := hs.byIno[h.Ino()]; e != nil {
		old, h = h, e.Value.(*handle)
		old.users.Store(1)
		h.users.Add(1)
	} else {
		hs.byIno[h.Ino()] = hs.recent.PushFront(h)
		if hs.recent.Len() > maxHandles {
			old = hs.remove(hs.recent.Back())
		}
	}
	hs.mu.Unlock()
	if old != nil {
		old.release()
	}
	return h
}

// remove takes a handle out, which the caller then releases. Callers hold mu.
func (hs *handles) remove(e *list.Element) *handle {
	h := hs.recent.Remove(e).(*handle)
	delete(hs.byIno, h.Ino())
	return h
}

// forget lets the handle of a file go, if there is one.
func (hs *handles) forget(i fs.Ino) {
	hs.mu.Lock()
	var old *handle
	if e := hs.byIno[i]; e != nil {
		old = hs.remove(e)
	}
	hs.mu.Unlock()
	if old != nil {
		old.release()
	}
}

// closeAll lets go of all. Nothing is in use any more.
func (hs *handles) closeAll() {
	hs.mu.Lock()
	var left []*handle
	for hs.recent.Len() > 0 {
		left = append(left, hs.remove(hs.recent.Back()))
	}
	hs.mu.Unlock()
	for _, h := range left {
		h.release()
	}
}

// with calls do with the handle of a file, opening it if need be.
func (hs *handles) with(i fs.Ino, do func(*fs.Handle) error) error {
	h := hs.get(i)
	if h == nil {
		opened, err := hs.tree.OpenInode(background, i)
		if err != nil {
			return err
		}
		h = hs.put(opened)
	}
	defer h.release()
	return do(h.Handle)
}

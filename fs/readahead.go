package fs

import (
	"context"
	"io"
	"sync"
)

const (
	// firstAhead and maxAhead are how much is read at once when a file is read
	// from one end to the other in small pieces, at first and after a while, in
	// bytes.
	firstAhead = 128 << 10
	maxAhead   = 1 << 20
	// maxAheadTotal bounds what all handles together keep, in bytes.
	maxAheadTotal = 64 << 20
)

// readAhead is what one handle has read beyond what was asked for. It is good as
// long as the file was not changed.
type readAhead struct {
	mu    sync.Mutex // behind Handle.mu, before file.mu
	next  int64      // where the last read ended
	size  int        // of the next fill
	at    int64      // offset of data
	data  []byte
	edits uint64 // of the file before data was read
	last  bool   // data ends where the file did
	taken int64  // of maxAheadTotal
}

// readAt is Tree.readAt that reads ahead if the reads follow each other.
func (h *Handle) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	a := &h.ahead
	if off < 0 || !a.mu.TryLock() { // several readers do no stream
		return h.tree.readAt(ctx, h.h, p, off)
	}
	if len(p) >= firstAhead && a.taken == 0 {
		a.mu.Unlock()
		return h.tree.readAt(ctx, h.h, p, off)
	}
	defer a.mu.Unlock()
	n, err := h.readOn(ctx, p, off)
	if err == io.EOF || a.last && off+int64(n) == a.at+int64(len(a.data)) {
		a.release(h.tree) // whoever was at the end seldom comes back
	}
	return n, err
}

// readOn is readAt with a.mu held.
func (h *Handle) readOn(ctx context.Context, p []byte, off int64) (int, error) {
	a := &h.ahead
	follows := off == a.next && off > 0
	a.next = off + int64(len(p))
	if len(p) >= firstAhead {
		return h.tree.readAt(ctx, h.h, p, off)
	}
	if !follows {
		a.size = firstAhead
	}
	if n, ok := a.serve(h.h, p, off); ok {
		return n, nil
	}
	if !follows || !a.take(h.tree) {
		return h.tree.readAt(ctx, h.h, p, off)
	}
	if err := a.fill(ctx, h, off); err != nil {
		return 0, err
	}
	if n, ok := a.serve(h.h, p, off); ok {
		return n, nil
	}
	return h.tree.readAt(ctx, h.h, p, off) // changed meanwhile, or the end
}

// serve copies from what was read ahead if it covers all of p and is good.
func (a *readAhead) serve(h *file, p []byte, off int64) (int, bool) {
	if off < a.at || off+int64(len(p)) > a.at+int64(len(a.data)) {
		return 0, false
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.gone || h.edits != a.edits {
		return 0, false
	}
	return copy(p, a.data[off-a.at:]), true
}

func (a *readAhead) fill(ctx context.Context, h *Handle, off int64) error {
	h.h.mu.RLock()
	a.edits = h.h.edits
	h.h.mu.RUnlock()
	if cap(a.data) < a.size {
		a.data = make([]byte, a.size)
	}
	a.at, a.data = off, a.data[:a.size]
	n, err := h.tree.readAt(ctx, h.h, a.data, off)
	a.data = a.data[:n]
	a.size = min(2*a.size, maxAhead)
	a.last = err == io.EOF
	if err == io.EOF {
		err = nil
	}
	return err
}

// take asks for room among all handles; once, for as long as the handle is open.
func (a *readAhead) take(f *Tree) bool {
	if a.taken > 0 {
		return true
	}
	if f.ahead.Add(maxAhead) > maxAheadTotal {
		f.ahead.Add(-maxAhead)
		return false
	}
	a.taken = maxAhead
	return true
}

// drop gives the room back.
func (a *readAhead) drop(f *Tree) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.release(f)
}

// release is drop with a.mu held.
func (a *readAhead) release(f *Tree) {
	f.ahead.Add(-a.taken)
	a.taken, a.data, a.last = 0, nil, false
}

package memhost

import (
	"context"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
)

// A host process can serve the volume to a holder who proves by a token that it is
// the same one after that process was started anew (store/host/serve). The token
// is durable, as records are.

// AcquireAs is Acquire for a holder that may come back with its token.
func (h *Host) AcquireAs(ctx context.Context, o host.AcquireOptions, token [32]byte) (host.Writer, error) {
	w, err := h.Acquire(ctx, o)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lease = token
	return w, nil
}

// Resume is Acquire for the holder whose token it is, if nobody acquired the volume
// since: else ErrFenced. The new writer may Adopt segments.
func (h *Host) Resume(ctx context.Context, o host.AcquireOptions, token [32]byte) (host.Writer, error) {
	w := &writer{h: h, owner: o.Owner, resumed: true}
	err := h.change(ctx, nil, Call{Op: OpAcquire, Name: o.Owner}, func(Cut) error {
		if h.lease != token {
			return host.ErrFenced
		}
		h.holder = w
		return nil
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Adopt lets a resumed writer go on with a segment that its holder made before, at
// tail: what lies behind is as if it had never been written, until it is written
// again. If the segment is gone, which a crash of the machine may have done to one
// that was never synced, it is made anew: then tail must be 0.
func (w *writer) Adopt(ctx context.Context, id host.SegmentID, capacity, tail int64) error {
	if err := host.CheckSegment(id, tail, 0); err != nil || !w.resumed || tail > capacity {
		return fmt.Errorf("adopt segment %d at %d: %w", id, tail, host.ErrInvalid)
	}
	h := w.h
	h.mu.RLock()
	gone := h.segments[id] == nil
	h.mu.RUnlock()
	if gone && tail == 0 {
		return w.Create(ctx, id, capacity)
	}
	return h.change(ctx, w, Call{Op: OpCreate, Segment: id, Size: capacity}, func(Cut) error {
		s := h.segments[id]
		if s == nil {
			return host.ErrNotFound
		}
		h.forget(func(e entry) bool { return e.Op == OpAppend && e.segment == s && e.Off >= tail })
		s.erase(tail, capacity-tail)
		s.tail, s.creator = tail, w
		return nil
	})
}

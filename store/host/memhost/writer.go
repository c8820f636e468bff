package memhost

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/coffer-fs/coffer/store/host"
)

var errReleased = fmt.Errorf("writer was released: %w", host.ErrInvalid)

// writer is one acquisition of the volume. It holds it while h.holder is it.
type writer struct {
	h        *Host
	owner    string
	resumed  bool // it may Adopt
	released bool // guarded by h.mu
}

// Acquire implements host.Volume.
func (h *Host) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	w := &writer{h: h, owner: o.Owner}
	err := h.change(ctx, nil, Call{Op: OpAcquire, Name: o.Owner}, func(Cut) error {
		if h.holder != nil && !o.Takeover {
			return fmt.Errorf("held by %q: %w", h.holder.owner, host.ErrInUse)
		}
		h.holder, h.lease = w, [32]byte{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if h.options.AppendSync {
		return appendSyncer{w}, nil
	}
	return w, nil
}

// appendSyncer is a writer that does both in one call. A crash may part them.
type appendSyncer struct{ *writer }

var _ host.AppendSyncer = appendSyncer{}

// AppendSync implements host.AppendSyncer.
func (w appendSyncer) AppendSync(ctx context.Context, id host.SegmentID, off int64, p []byte, synced ...host.SegmentID) error {
	if err := w.Append(ctx, id, off, p); err != nil {
		return err
	}
	return w.Sync(ctx, synced...)
}

// Release implements host.Writer.
func (w *writer) Release(ctx context.Context) error {
	return w.h.change(ctx, nil, Call{Op: OpRelease}, func(Cut) error {
		if w.h.holder == w {
			w.h.holder = nil
			w.released = true
		}
		return nil
	})
}

func (w *writer) Get(ctx context.Context, name string) (host.Record, error) {
	return w.h.get(ctx, w, name)
}

func (w *writer) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (int, error) {
	return w.h.read(ctx, w, id, off, p)
}

func (w *writer) Segments(ctx context.Context) ([]host.SegmentInfo, error) {
	return w.h.list(ctx, w)
}

// Swap implements host.Writer.
func (w *writer) Swap(ctx context.Context, name string, old host.Version, value []byte) (v host.Version, err error) {
	h, c := w.h, Call{Op: OpSwap, Name: name, Size: int64(len(value))}
	err = h.change(ctx, w, c, func(cut Cut) error {
		if err := host.CheckRecord(name, value); err != nil {
			return err
		}
		before := h.records[name]
		if before.version != old {
			return host.ErrConflict
		}
		h.versions++
		v = host.Version(strconv.FormatUint(h.versions, 10))
		h.records[name] = record{bytes.Clone(value), v}
		if cut == CutDuring {
			h.note(entry{Pending: Pending{Op: OpSwap, Name: name}, before: before})
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return v, nil
}

// Create implements host.Writer.
func (w *writer) Create(ctx context.Context, id host.SegmentID, capacity int64) error {
	h, c := w.h, Call{Op: OpCreate, Segment: id, Size: capacity}
	return h.change(ctx, w, c, func(Cut) error {
		if capacity <= 0 || capacity > host.MaxSegmentSize {
			return host.ErrInvalid
		}
		if err := host.CheckSegment(id, 0, int(capacity)); err != nil {
			return err
		}
		if h.segments[id] != nil {
			return host.ErrExists
		}
		if limit := h.options.LimitBytes; limit > 0 && capacity > limit-h.bytes {
			return fmt.Errorf("%d of %d bytes set aside: %w", h.bytes, limit, host.ErrNoSpace)
		}
		s := &segment{capacity: capacity, end: capacity, ground: h.recycle(capacity), creator: w}
		if h.options.GrowingEnds {
			s.end = 0
		}
		h.bytes += capacity
		h.segments[id] = s
		h.note(entry{Pending: Pending{Op: OpCreate, Segment: id}, segment: s})
		return nil
	})
}

// recycle takes a spare of that capacity to build on. h.mu is held.
func (h *Host) recycle(capacity int64) ground {
	i := slices.IndexFunc(h.spares, func(s *segment) bool { return s.capacity == capacity })
	if i < 0 {
		return ground{}
	}
	old := h.spares[i].copy()
	old.ground, old.end = ground{}, capacity
	h.spares = slices.Delete(slices.Clone(h.spares), i, i+1)
	return ground{old: old}
}

// Append implements host.Writer.
func (w *writer) Append(ctx context.Context, id host.SegmentID, off int64, p []byte) error {
	h, c := w.h, Call{Op: OpAppend, Segment: id, Off: off, Size: int64(len(p))}
	return h.change(ctx, w, c, func(Cut) error {
		if err := host.CheckSegment(id, off, len(p)); err != nil {
			return err
		}
		s := h.segments[id]
		switch {
		case s == nil:
			return host.ErrNotFound
		case s.creator != w:
			return fmt.Errorf("made by another writer: %w", host.ErrInvalid)
		case off != s.tail:
			return fmt.Errorf("segment goes on at %d: %w", s.tail, host.ErrOffset)
		case off+int64(len(p)) > s.capacity:
			return fmt.Errorf("capacity is %d bytes: %w", s.capacity, host.ErrOffset)
		case len(p) == 0:
			return nil
		}
		s.append(bytes.Clone(p))
		s.end = max(s.end, s.tail)
		h.stats.appended.Add(int64(len(p)))
		h.note(entry{Pending: Pending{Op: OpAppend, Segment: id, Off: off, Size: int64(len(p))}, segment: s})
		return nil
	})
}

// Sync implements host.Writer. Making a new segment's existence durable makes
// the deletes before it durable too, as syncing a directory does.
func (w *writer) Sync(ctx context.Context, ids ...host.SegmentID) error {
	h, c := w.h, Call{Op: OpSync, Segments: slices.Clone(ids)}
	return h.change(ctx, w, c, func(cut Cut) error {
		for _, id := range ids {
			if err := host.CheckSegment(id, 0, 0); err != nil {
				return err
			}
			if h.segments[id] == nil {
				return fmt.Errorf("segment %d: %w", id, host.ErrNotFound)
			}
		}
		if cut == CutDuring {
			return nil
		}
		created := false
		h.forget(func(e entry) bool {
			done := e.Op != OpDelete && slices.Contains(ids, e.Segment) && e.segment == h.segments[e.Segment]
			created = created || done && e.Op == OpCreate
			return done
		})
		if created {
			h.finishDeletes(0)
		}
		return nil
	})
}

// Delete implements host.Writer.
func (w *writer) Delete(ctx context.Context, id host.SegmentID) error {
	h, c := w.h, Call{Op: OpDelete, Segment: id}
	return h.change(ctx, w, c, func(Cut) error {
		if err := host.CheckSegment(id, 0, 0); err != nil {
			return err
		}
		s := h.segments[id]
		if s == nil {
			return host.ErrNotFound
		}
		delete(h.segments, id)
		h.bytes -= s.capacity
		h.spare(s)
		h.note(entry{Pending: Pending{Op: OpDelete, Segment: id}, segment: s})
		return nil
	})
}

// Forget implements host.Forgetter. A crash during it may leave the spares.
func (w *writer) Forget(ctx context.Context, more bool) error {
	h := w.h
	return h.change(ctx, w, Call{Op: OpForget}, func(cut Cut) error {
		if more {
			h.forgets = true
		}
		if cut == CutDuring {
			return nil
		}
		h.spares = nil
		h.finishDeletes(0)
		h.forgets = more
		return nil
	})
}

// Forgetting implements host.Forgetter.
func (w *writer) Forgetting() bool {
	w.h.mu.RLock()
	defer w.h.mu.RUnlock()
	return w.h.forgets
}

// spare keeps a deleted segment for recycle. h.mu is held.
func (h *Host) spare(s *segment) {
	if h.options.Spares <= 0 || h.forgets {
		return
	}
	h.spares = append(slices.Clone(h.spares), s)
	if extra := len(h.spares) - h.options.Spares; extra > 0 {
		h.spares = h.spares[extra:]
	}
}

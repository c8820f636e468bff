package memhost

import (
	"context"
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
)

// Op is a kind of call.
type Op uint8

// The calls of a host. Those from OpAcquire on change something.
const (
	OpGet Op = iota
	OpRead
	OpSegments
	OpAcquire
	OpSwap
	OpCreate
	OpAppend
	OpSync
	OpDelete
	OpRelease
	OpForget
	opCount
)

var opNames = [opCount]string{"get", "read", "segments", "acquire", "swap", "create", "append", "sync", "delete", "release", "forget"}

func (o Op) String() string { return opNames[o] }

// Call is one changing call as hooks and traces see it.
type Call struct {
	Index    int // among the changing calls since New, Clone or Crash
	Op       Op
	Segment  host.SegmentID   // of create, append, delete
	Segments []host.SegmentID // of sync
	Name     string           // of swap; the owner for acquire
	Off      int64            // of append
	Size     int64            // bytes of append and swap, capacity of create
}

// String is one line of a golden trace.
func (c Call) String() string {
	switch c.Op {
	case OpAcquire:
		return fmt.Sprintf("acquire %q", c.Name)
	case OpSwap:
		return fmt.Sprintf("swap %s, %d bytes", c.Name, c.Size)
	case OpCreate:
		return fmt.Sprintf("create %d, %d bytes", c.Segment, c.Size)
	case OpAppend:
		return fmt.Sprintf("append %d, %d bytes at %d", c.Segment, c.Size, c.Off)
	case OpSync:
		return fmt.Sprintf("sync %d", c.Segments)
	case OpDelete:
		return fmt.Sprintf("delete %d", c.Segment)
	}
	return c.Op.String()
}

// Cut says whether and where the machine dies in a call.
type Cut uint8

const (
	// Proceed: it lives on.
	Proceed Cut = iota
	// CutBefore: it dies before the call took any effect.
	CutBefore
	// CutDuring: it dies halfway; Crash decides what of the call is found
	// afterwards, like it decides about everything else that is pending.
	CutDuring
	// CutAfter: it dies when the call was done, but before it returned.
	CutAfter
)

// SetHook lets f decide about every changing call from now on; nil for none.
// f runs inside the call and must not use the host.
func (h *Host) SetHook(f func(Call) Cut) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hook = f
}

// CutAt kills the machine in the changing call with index n, and replaces any
// hook.
func (h *Host) CutAt(n int, how Cut) {
	h.SetHook(func(c Call) Cut {
		if c.Index == n {
			return how
		}
		return Proceed
	})
}

// Calls returns the number of changing calls so far: the index of the next.
func (h *Host) Calls() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.calls
}

// Trace returns the changing calls so far, in order, if Options.Trace is set.
func (h *Host) Trace() []Call {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Clone(h.trace)
}

// change runs a changing call: count it, ask the hook, do it, die if it said so.
// w is nil for Acquire, which needs no writer.
func (h *Host) change(ctx context.Context, w *writer, c Call, do func(Cut) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%v: %w", c, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead {
		return fmt.Errorf("%v: %w", c, ErrCrashed)
	}
	cut := h.count(c)
	if cut == CutBefore {
		h.dead = true
		return fmt.Errorf("%v: %w", c, ErrCrashed)
	}
	err := h.admit(w)
	if err == nil {
		err = do(cut)
	}
	if cut != Proceed {
		h.dead = true
		return fmt.Errorf("%v: %w", c, ErrCrashed)
	}
	if err != nil {
		return fmt.Errorf("%v: %w", c, err)
	}
	return nil
}

// count numbers the call, remembers it and asks the hook. h.mu is held.
func (h *Host) count(c Call) Cut {
	h.stats.calls[c.Op].Add(1)
	c.Index = h.calls
	h.calls++
	if h.options.Trace {
		h.trace = append(h.trace, c)
	}
	if h.hook == nil {
		return Proceed
	}
	return h.hook(c)
}

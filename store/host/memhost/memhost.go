// Package memhost is a volume's host in memory, with a disk that can crash.
//
// It serves two ends. As a host it carries volumes that are meant to be lost
// with the process. As a model it stands for the worst honest disk there is:
// Crash gives what might be found after a power cut, where every change that
// was not made durable is kept, dropped or torn on its own, and where space
// that was never written reads as junk or as what lay there before.
//
// It promises what host.Volume promises; the same result for the same calls
// and the same seed; and that Clone and Crash cost a few pointers a segment,
// since appended bytes are never changed, only shared.
//
// It refuses everything once it has crashed, with ErrCrashed.
//
// A Host stands for disk and machine together. It is opened by being used:
// Close and reopening are nothing.
//
// Lock order: Host.mu is the only lock. Hooks run while it is held and must not
// call the host.
package memhost

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/coffer-fs/coffer/store/host"
)

// ErrCrashed: the machine is dead. It is no refusal: the call during which it
// died may have taken effect.
var ErrCrashed = errors.New("the in-memory host has crashed")

// Options of a Host. The zero value is an unlimited host that can crash.
type Options struct {
	// LimitBytes bounds the sum of all segments' capacities; Create fails
	// with ErrNoSpace beyond it. 0 means no limit.
	LimitBytes int64
	// Spares is how many deleted segments are kept for new ones of the same
	// capacity to be created on top of, so that a new segment shows old
	// content where it was not written yet, as recycled files do.
	Spares int
	// GrowingEnds makes a segment end where its last append ended, as on
	// object storage, rather than at its capacity, as with files whose room
	// was set aside.
	GrowingEnds bool
	// Trace makes the host remember its changing calls for Trace.
	Trace bool
	// AppendSync gives writers AppendSync, which is Append and then Sync.
	AppendSync bool
	// Forgetful keeps no journal of what is not durable yet, which saves
	// memory. A crash then loses nothing: not for crash tests.
	Forgetful bool
}

// Host is a volume on a machine of its own. It implements host.Volume.
type Host struct {
	options Options
	stats   counters

	mu       sync.RWMutex
	segments map[host.SegmentID]*segment
	records  map[string]record
	spares   []*segment // deleted ones, oldest first
	bytes    int64      // sum of capacities
	forgets  bool       // no spare is kept
	versions uint64     // the last version handed out
	journal  []entry    // what a crash would decide about, oldest first
	holder   *writer    // the present writer
	lease    [32]byte   // the token of who acquired it last, if it has one
	dead     bool       // crashed
	calls    int        // changing calls so far
	hook     func(Call) Cut
	trace    []Call
}

var _ host.Volume = (*Host)(nil)

// record is one state of a record. Its value is never changed in place.
type record struct {
	value   []byte
	version host.Version
}

// New returns a host with an empty volume.
func New(o Options) *Host {
	return &Host{
		options:  o,
		segments: make(map[host.SegmentID]*segment),
		records:  make(map[string]record),
	}
}

// Close does nothing: the volume lives as long as the Host.
func (h *Host) Close() error { return nil }

// Bytes is the sum of all segments' capacities, which is at least what they hold.
func (h *Host) Bytes() int64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.bytes
}

// Stats counts the calls of each kind and the bytes that passed since New,
// Clone or Crash.
type Stats struct {
	Calls         [opCount]int64
	BytesAppended int64
	BytesRead     int64
}

type counters struct {
	calls          [opCount]atomic.Int64
	appended, read atomic.Int64
}

// Stats returns the counts so far.
func (h *Host) Stats() Stats {
	s := Stats{BytesAppended: h.stats.appended.Load(), BytesRead: h.stats.read.Load()}
	for op := range s.Calls {
		s.Calls[op] = h.stats.calls[op].Load()
	}
	return s
}

// inspect runs a call that changes nothing. w is nil for a mere reader.
func (h *Host) inspect(ctx context.Context, w *writer, op Op, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	h.stats.calls[op].Add(1)
	if err := h.admit(w); err != nil {
		return err
	}
	return do()
}

// admit refuses a dead machine and a writer that lost the volume. h.mu is held.
func (h *Host) admit(w *writer) error {
	switch {
	case h.dead:
		return ErrCrashed
	case w == nil || h.holder == w:
		return nil
	case w.released:
		return errReleased
	}
	return host.ErrFenced
}

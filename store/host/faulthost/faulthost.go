// Package faulthost is a host that fails and lies on demand, around another one.
//
// Without rules it does nothing and passes hosttest. A Rule names the calls it
// is about, which of them are hit, and the Fault: an error with or without the
// call's effect, an effect by halves, success without effect, or one of the lies
// that a hostile host can tell (attacks A32 to A35). Everything is counted, so
// that a test fails the n-th call for every n and gets the same each time.
//
// It never calls the inner host for a call that it fails beforehand, and it
// never invents an inner state: what the inner host holds is what an honest
// reader finds afterwards.
//
// For tests only.
//
// Lock order: Host.mu is not held while the inner host is called.
package faulthost

import (
	"errors"
	"slices"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
)

// ErrInjected is the error of a Rule that has none of its own. It is no refusal.
var ErrInjected = errors.New("injected fault")

// Ops is a set of methods.
type Ops uint16

// The methods of a host.
const (
	Get Ops = 1 << iota
	Read
	Segments
	Acquire
	Swap
	Create
	Append
	Sync
	Delete
	Release

	Reads   = Get | Read | Segments
	Changes = Acquire | Swap | Create | Append | Sync | Delete | Release
	All     = Reads | Changes
)

// Rule says which calls suffer which fault. Each rule counts the calls that it
// is about from when it was added; the first rule that hits a call decides.
type Rule struct {
	// Ops are the methods it is about. 0 means all that the Fault fits; for
	// the faults that fit everything it means Changes.
	Ops Ops
	// Nth is the index of the first call that is hit.
	Nth int
	// Every hits each Every-th call after it too. 0 means none.
	Every int
	// Sticky hits all calls after it too.
	Sticky bool
	// Fault is what happens to a call that is hit.
	Fault Fault
	// Err is what failing calls return; nil means ErrInjected. A refusal,
	// such as host.ErrNoSpace, goes with FailBefore.
	Err error
	// Hit, which may be nil, is called when a call is hit, before the fault happens. It
	// must not call the host.
	Hit func()
}

// ops are the methods that the rule is about.
func (r Rule) ops() Ops {
	fit := r.Fault.ops()
	switch {
	case r.Ops != 0:
		return r.Ops & fit
	case fit == All:
		return Changes
	}
	return fit
}

// hits says whether the rule hits the call with that index.
func (r Rule) hits(index int) bool {
	switch {
	case index < r.Nth:
		return false
	case index == r.Nth || r.Sticky:
		return true
	}
	return r.Every > 0 && (index-r.Nth)%r.Every == 0
}

// Host is a host.Volume that follows rules.
type Host struct {
	reader
	inner host.Volume

	mu       sync.Mutex
	rules    []*activeRule
	calls    map[Ops]int // of each method
	hits     int
	scribble [][]byte // buffers of callers, to be changed in the next call
	first    map[string]host.Record
}

var _ host.Volume = (*Host)(nil)

type activeRule struct {
	Rule
	seen int
}

// New returns a host around inner, without rules.
func New(inner host.Volume) *Host {
	h := &Host{inner: inner, calls: make(map[Ops]int), first: make(map[string]host.Record)}
	h.reader = reader{h, inner}
	return h
}

// Add adds rules.
func (h *Host) Add(rules ...Rule) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range rules {
		h.rules = append(h.rules, &activeRule{Rule: r})
	}
}

// Clear removes all rules.
func (h *Host) Clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rules = nil
}

// Calls returns how many calls of these methods came so far.
func (h *Host) Calls(ops Ops) (count int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for op, n := range h.calls {
		if op&ops != 0 {
			count += n
		}
	}
	return count
}

// Hits returns how many calls were hit by rules so far.
func (h *Host) Hits() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hits
}

// Close closes the inner host. It is never hit.
func (h *Host) Close() error { return h.inner.Close() }

// next counts a call and finds the rule that hits it, or one that does nothing.
func (h *Host) next(op Ops) Rule {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls[op]++
	if op == Read {
		h.scribbleNow() // not while a change in the background meets a read in the foreground
	}
	found := Rule{Fault: none}
	for _, r := range slices.Backward(h.rules) {
		if r.ops()&op == 0 {
			continue
		}
		if r.hits(r.seen) {
			found = r.Rule
		}
		r.seen++
	}
	if found.Fault != none {
		h.hits++
		if found.Hit != nil {
			found.Hit()
		}
	}
	if found.Err == nil {
		found.Err = ErrInjected
	}
	return found
}

// scribbleNow changes the buffers that ScribbleLater kept. h.mu is held.
func (h *Host) scribbleNow() {
	for _, p := range h.scribble {
		for i := range p {
			p[i] ^= 0xff
		}
	}
	h.scribble = nil
}

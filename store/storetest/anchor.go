package storetest

import (
	"context"
	"errors"
	"maps"
	"sync"

	"github.com/coffer-fs/coffer/store"
)

// ErrAnchorFault is what an Anchor's Fault makes of a call.
var ErrAnchorFault = errors.New("injected fault of the anchor")

// Fault is what goes wrong with one call of an Anchor.
type Fault int

// The faults.
const (
	NoFault    Fault = iota
	FailBefore       // an error, and nothing happened
	FailAfter        // an error, and it happened
)

// Anchor is an anchor in memory, out of the reach of every host.
type Anchor struct {
	// Fault, if set, decides what goes wrong with the n-th call, from 0.
	Fault func(n int) Fault
	// Around, if set, is called before and after each call, without a lock.
	Around func(call string)

	mu     sync.Mutex
	states map[[16]byte]store.AnchorState
	calls  int
}

var _ store.Anchor = (*Anchor)(nil)

// Read implements store.Anchor.
func (a *Anchor) Read(_ context.Context, volume [16]byte) (state store.AnchorState, err error) {
	err = a.call("anchor read", func() error {
		s, ok := a.states[volume]
		if !ok {
			return store.ErrAnchorEmpty
		}
		state = s
		return nil
	})
	return state, err
}

// Advance implements store.Anchor.
func (a *Anchor) Advance(_ context.Context, volume [16]byte, old, next store.AnchorState) error {
	return a.call("anchor advance", func() error {
		if a.states[volume] != old {
			return store.ErrAnchorConflict
		}
		if a.states == nil {
			a.states = map[[16]byte]store.AnchorState{}
		}
		a.states[volume] = next
		return nil
	})
}

func (a *Anchor) call(name string, do func() error) error {
	if a.Around != nil {
		a.Around(name)
		defer a.Around(name + " returns")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	fault := NoFault
	if a.Fault != nil {
		fault = a.Fault(a.calls)
	}
	a.calls++
	if fault == FailBefore {
		return ErrAnchorFault
	}
	err := do()
	if fault == FailAfter {
		return ErrAnchorFault
	}
	return err
}

// Calls is how many calls there were.
func (a *Anchor) Calls() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

// Hold calls fn while nothing changes, and returns a copy of that moment.
func (a *Anchor) Hold(fn func()) *Anchor {
	a.mu.Lock()
	defer a.mu.Unlock()
	fn()
	return &Anchor{states: maps.Clone(a.states)}
}

// Forget makes the anchor lose all that it knows.
func (a *Anchor) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.states = nil
}

package store_test

import (
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// The attacks that a volume without an anchor can't notice
// (attack_rollback_test.go), on one that has an anchor.

// anchored is a volume with an anchor.
type anchored struct {
	*vault
	anchor  *storetest.Anchor
	options store.Options
}

// newUnopened returns an empty volume.
func newUnopened(t *testing.T) *anchored {
	t.Helper()
	a := &anchored{vault: &vault{history: newHistory(), host: memhost.New(memhost.Options{})}, anchor: &storetest.Anchor{}}
	a.options = store.Options{Unlocker: storetest.Unlocker("test"), Anchor: a.anchor, AnchorWait: 1}
	create := store.CreateOptions{Capacity: store.MinCapacity, Secret: storetest.Secret("test"), Anchor: a.anchor}
	if err := store.Create(bg, a.host, create); err != nil {
		t.Fatal(err)
	}
	return a
}

// newAnchored returns an open volume with one object.
func newAnchored(t *testing.T) *anchored {
	t.Helper()
	a := newUnopened(t)
	a.open(t)
	a.put(t, 10, content{0, 700})
	a.commit(t)
	return a
}

func (a *anchored) open(t *testing.T) {
	t.Helper()
	s, err := store.Open(bg, a.host, a.options)
	if err != nil {
		t.Fatal(err)
	}
	a.s = s
}

// copied is a copy of the volume, with the same anchor.
func (a *anchored) copied() *anchored {
	return &anchored{vault: a.fork(), anchor: a.anchor, options: a.options}
}

// crashed is what a power cut leaves, with the same anchor.
func (a *anchored) crashed() *anchored {
	return &anchored{vault: a.crash(), anchor: a.anchor, options: a.options}
}

// refused checks that the volume opens in no way.
func (a *anchored) refused(t *testing.T, h *memhost.Host, want error) {
	t.Helper()
	o := a.options
	for _, o.ReadOnly = range []bool{true, false} {
		s, err := store.Open(bg, h.Clone(), o)
		if !errors.Is(err, want) {
			t.Errorf("read-only %v: %v, want %v", o.ReadOnly, err, want)
		}
		if err == nil {
			s.Close()
		}
	}
}

// opens checks that the volume opens and holds everything.
func (a *anchored) opens(t *testing.T, h *memhost.Host) {
	t.Helper()
	o := a.options
	o.ReadOnly = true
	s, err := store.Open(bg, h, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if state, err := a.present(s); err != nil || state != a.last {
		t.Errorf("state %d, want %d: %v", state, a.last, err)
	}
}

// Every older state is refused, however the volume was left then.
func TestA14_RollBackAnchored(t *testing.T) {
	for _, closed := range []bool{true, false} {
		a := newAnchored(t)
		older := a.crashed()
		if closed {
			a.close(t)
			older = a.copied()
			a.open(t)
		}
		a.put(t, 50, content{0, 700})
		a.commit(t)
		a.refused(t, older.host, store.ErrRolledBack)
		a.opens(t, a.crash().host)
		a.close(t)
		a.refused(t, older.host, store.ErrRolledBack)
		a.opens(t, a.host)
	}
}

// The last commit can't be cut off: it was not acknowledged before the anchor
// knew of it.
func TestA15_SuppressTailAnchored(t *testing.T) {
	a := newAnchored(t)
	e := a.put(t, 50, content{0, 700})
	a.commit(t)
	cut := a.crashed()
	whole := cut.host.Segment(e.Segment)
	cut.host.SetSegment(e.Segment, whole[:len(whole)-512])
	a.refused(t, cut.host, store.ErrRolledBack)
	// nor behind a root that was made meanwhile
	if err := a.s.Checkpoint(bg); err != nil {
		t.Fatal(err)
	}
	e = a.put(t, 51, content{0, 700})
	a.commit(t)
	cut = a.crashed()
	whole = cut.host.Segment(e.Segment)
	cut.host.SetSegment(e.Segment, whole[:len(whole)-512])
	a.refused(t, cut.host, store.ErrRolledBack)
	a.opens(t, a.crash().host)
	a.close(t)
}

// Of two copies that are opened one goes on: the later opener takes the volume,
// and nothing that the earlier one does is acknowledged any more.
func TestA16_ForkAnchored(t *testing.T) {
	a := newAnchored(t)
	a.close(t)
	b := a.copied()
	a.open(t)
	b.open(t)
	for i := range uint64(3) { // it goes further than the other will
		a.put(t, 50+i, content{0, 700})
		if err := a.s.Checkpoint(bg); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.s.Commit(bg); !errors.Is(err, store.ErrForked) || !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("commit of the first: %v", err)
	}
	if err := a.s.Close(); !errors.Is(err, store.ErrForked) {
		t.Errorf("close of the first: %v", err)
	}
	b.put(t, 60, content{5000, 700})
	b.commit(t)
	b.refused(t, a.host, store.ErrForked)
	b.close(t)
	b.refused(t, a.host, store.ErrForked)
	b.opens(t, b.host)
}

// A copy that is behind what the first opener committed is refused instead.
func TestA16_LateForkAnchored(t *testing.T) {
	a := newAnchored(t)
	a.close(t)
	b := a.copied()
	a.open(t)
	a.put(t, 50, content{0, 700})
	a.commit(t)
	b.refused(t, b.host, store.ErrRolledBack)
	a.put(t, 51, content{0, 700})
	a.commit(t)
	a.close(t)
	a.opens(t, a.host)
}

// Forks that differ in nothing but their roots are told apart too.
func TestA16_ForkOfRootsAnchored(t *testing.T) {
	a := newAnchored(t)
	a.options.AnchorEvery = store.AnchorAtClose
	a.close(t)
	b := a.copied()
	a.open(t)
	if err := a.s.Checkpoint(bg); err != nil {
		t.Fatal(err)
	}
	left := a.crashed() // never told the anchor of its roots
	b.open(t)
	b.close(t)
	b.refused(t, left.host, store.ErrForked)
	b.opens(t, b.host)
	if err := a.s.Close(); !errors.Is(err, store.ErrForked) {
		t.Errorf("close of the first: %v", err)
	}
}

// What was before a change of the key is refused, with either key, even if only
// the slot was changed and nothing was written.
func TestA26_RollBackKeyAnchored(t *testing.T) {
	for name, change := range map[string]func(*store.Store) error{
		"rekey":  rekey,
		"rewrap": func(s *store.Store) error { return s.Rewrap(bg, newSecret) },
	} {
		a := newAnchored(t)
		a.close(t)
		a.options.Unlocker = store.Secrets{oldSecret, newSecret}
		a.options.AnchorEvery = store.AnchorAtClose
		before := a.copied()
		a.open(t)
		if err := change(a.s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a.refused(t, before.host, store.ErrRolledBack)
		a.opens(t, a.crash().host)
		a.close(t)
		a.refused(t, before.host, store.ErrRolledBack)
		a.opens(t, a.host)
	}
}

// With a policy that tells the anchor at close only, what is behind can be
// lost, and nothing else.
func TestA14_PolicyAtClose(t *testing.T) {
	a := newAnchored(t)
	a.options.AnchorEvery = store.AnchorAtClose
	a.close(t)
	atClose := a.copied()
	a.open(t)
	a.put(t, 50, content{0, 700})
	a.commit(t)
	atClose.opens(t, atClose.host) // as after a crash before the commit
	a.close(t)
	a.refused(t, atClose.host, store.ErrRolledBack)
}

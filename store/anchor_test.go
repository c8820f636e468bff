package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/storetest"
)

// The outcomes of opening are told apart, and each by its own error.
func TestAnchorOutcomes(t *testing.T) {
	a := newAnchored(t)
	a.close(t)
	without := newVault(t)
	without.close(t)
	with := a.options

	plain := store.Options{Unlocker: storetest.Unlocker("test")}
	for _, c := range []struct {
		name   string
		volume *vault
		change func(*store.Options)
		want   error
	}{
		{"none configured", a.vault, func(o *store.Options) { *o = plain }, store.ErrAnchorMissing},
		{"first use", without, nil, store.ErrAnchorFirstUse},
		{"lost", a.vault, func(o *store.Options) { o.Anchor = &storetest.Anchor{} }, store.ErrAnchorLost},
		{"lost is not first use", a.vault, func(o *store.Options) { o.Anchor, o.AdoptAnchor = &storetest.Anchor{}, true }, store.ErrAnchorLost},
		{"unavailable", a.vault, func(o *store.Options) { o.Anchor = failing(storetest.FailBefore) }, store.ErrAnchorUnavailable},
		{"another's", a.vault, func(o *store.Options) { o.Anchor = others{} }, store.ErrAnchorOther},
	} {
		for _, readOnly := range []bool{true, false} {
			o := with
			if c.change != nil {
				c.change(&o)
			}
			o.ReadOnly = readOnly
			s, err := store.Open(bg, c.volume.host.Clone(), o)
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v", c.name, err)
			}
			if err == nil {
				s.Close()
			}
		}
	}
	a.opens(t, a.host)
}

func failing(f storetest.Fault) *storetest.Anchor {
	return &storetest.Anchor{Fault: func(int) storetest.Fault { return f }}
}

// others is an anchor that keeps everything for somebody else.
type others struct{}

func (others) Read(context.Context, [16]byte) (store.AnchorState, error) {
	return store.AnchorState{}, store.ErrAnchorOther
}

func (others) Advance(context.Context, [16]byte, store.AnchorState, store.AnchorState) error {
	return store.ErrAnchorOther
}

// A volume gets an anchor, loses it, and gets it again: each time only because
// it was said so.
func TestAnchorAdoptAndDetach(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	early := v.fork()
	a := &anchored{vault: v, anchor: &storetest.Anchor{}}
	a.options = store.Options{Unlocker: storetest.Unlocker("test"), Anchor: a.anchor, AnchorWait: 1}
	adopt := a.options
	adopt.AdoptAnchor = true
	open := func(o store.Options) {
		t.Helper()
		s, err := store.Open(bg, a.host, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	open(adopt)
	a.opens(t, a.host)
	a.options = adopt // adopting goes no further than the first use
	a.refused(t, early.host, store.ErrRolledBack)

	open(store.Options{Unlocker: storetest.Unlocker("test"), DetachAnchor: true})
	open(store.Options{Unlocker: storetest.Unlocker("test")})
	a.refused(t, a.host, store.ErrRolledBack)
}

// What the anchor speaks against opens with its approval, which holds once and
// for nothing else.
func TestAnchorApproval(t *testing.T) {
	a := newAnchored(t)
	a.close(t)
	backup := a.copied()
	a.open(t)
	a.put(t, 50, content{0, 700})
	a.close(t)
	report := backup.inspect(t)
	if !errors.Is(report.Verdict, store.ErrRolledBack) {
		t.Errorf("verdict: %v", report.Verdict)
	}
	if r := a.inspect(t); r.Verdict != nil || r.Approval == report.Approval || r.Found.Hash != r.Anchor.Hash {
		t.Errorf("the present volume: %+v", r)
	}
	lost := *backup
	lost.options.Anchor = &storetest.Anchor{}
	if r := lost.inspect(t); !errors.Is(r.Verdict, store.ErrAnchorLost) || r.Approval == report.Approval {
		t.Errorf("without its record: %+v", r)
	}

	wrong := backup.copied()
	wrong.options.ApproveAnchor = report.Approval
	wrong.options.ApproveAnchor[0]++
	wrong.refused(t, wrong.host, store.ErrRolledBack)
	restored := backup.copied()
	restored.options.ApproveAnchor = report.Approval
	restored.open(t)
	restored.put(t, 60, content{0, 700})
	restored.close(t)
	restored.opens(t, restored.host)
	restored.refused(t, a.host, store.ErrForked)
	restored.refused(t, backup.host, store.ErrRolledBack) // the same approval again
}

func (a *anchored) inspect(t *testing.T) store.AnchorReport {
	t.Helper()
	o := a.options
	o.ReadOnly, o.InspectAnchor = true, true
	s, err := store.Open(bg, a.host, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.AnchorReport()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Looking at a volume against its anchor's word is for looking at the anchor: it
// never opens one for writing.
func TestAnchorInspectOnlyReads(t *testing.T) {
	a := newAnchored(t)
	a.close(t)
	older := a.copied()
	a.open(t)
	a.close(t)
	o := a.options
	o.InspectAnchor = true
	if _, err := store.Open(bg, older.host, o); !errors.Is(err, store.ErrRolledBack) {
		t.Error(err)
	}
}

// While the anchor is away nothing is acknowledged; when it comes back in time,
// nobody notices; when it does not, the volume takes no more changes.
func TestAnchorAway(t *testing.T) {
	a := newAnchored(t)
	a.close(t)
	a.options.AnchorWait = time.Hour
	a.open(t)
	before := a.anchor.Calls()
	a.anchor.Fault = func(n int) storetest.Fault {
		switch n - before {
		case 0:
			return storetest.FailBefore
		case 1:
			return storetest.FailAfter // so the next is a conflict
		}
		return storetest.NoFault
	}
	a.put(t, 50, content{0, 700})
	a.commit(t)
	a.close(t)

	a.options.AnchorWait = 1
	a.open(t)
	a.anchor.Fault = func(int) storetest.Fault { return storetest.FailBefore }
	a.put(t, 51, content{0, 700})
	if err := a.s.Commit(bg); !errors.Is(err, store.ErrAnchorUnavailable) || !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("commit: %v", err)
	}
	if err := a.update(a.s, nil, false); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("change: %v", err)
	}
	if err := a.s.Close(); !errors.Is(err, store.ErrAnchorUnavailable) {
		t.Errorf("close: %v", err)
	}
	a.anchor.Fault = nil
	a.opens(t, a.host) // it was on the disk all the same
}

// Who gives up waiting for the anchor leaves the volume as it is.
func TestAnchorCancelled(t *testing.T) {
	a := newAnchored(t)
	a.close(t)
	a.options.AnchorWait = time.Hour
	a.open(t)
	ctx, cancel := context.WithCancel(bg)
	a.anchor.Fault = func(int) storetest.Fault { cancel(); return storetest.FailAfter }
	a.put(t, 50, content{0, 700})
	if err := a.s.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("commit: %v", err)
	}
	a.anchor.Fault = nil
	a.commit(t)
	a.close(t)
	a.opens(t, a.host)
}

// With a policy of so often, the anchor follows by itself; if it can't, the
// volume takes no more changes.
func TestAnchorEvery(t *testing.T) {
	a := newAnchored(t)
	a.close(t)
	a.options.AnchorEvery = time.Millisecond
	a.open(t)
	older := a.crashed()
	a.put(t, 50, content{0, 700})
	a.commit(t)
	report := func() store.AnchorReport {
		r, err := a.s.AnchorReport()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	want := report().Anchor.Sequence
	within(t, "anchor", func() {
		for older.inspect(t).Verdict == nil {
		}
	})
	if got := report().Anchor.Sequence; got < want {
		t.Errorf("the anchor went back to %d", got)
	}
	a.close(t)

	a.open(t)
	a.anchor.Hold(func() { a.anchor.Fault = func(int) storetest.Fault { return storetest.FailBefore } })
	a.put(t, 51, content{0, 700})
	a.commit(t)
	within(t, "anchor", func() {
		for a.s.Err() == nil {
		}
	})
	if err := a.s.Err(); !errors.Is(err, store.ErrAnchorUnavailable) {
		t.Error(err)
	}
	_ = a.s.Close()
}

// A commit with nothing to commit asks the anchor nothing.
func TestAnchorAsksOnce(t *testing.T) {
	a := newAnchored(t)
	before := a.anchor.Calls()
	a.put(t, 50, content{0, 700})
	a.commit(t)
	a.commit(t)
	if n := a.anchor.Calls() - before; n != 1 {
		t.Errorf("%d questions for one commit", n)
	}
	a.close(t)
}

// TestAnchorFaults fails every call of the anchor in turn, with effect and
// without, once and from then on, during sessions of a volume. Whatever happens,
// what was acknowledged is there, and an honest volume is never refused.
func TestAnchorFaults(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
			for _, every := range []time.Duration{store.AnchorEveryCommit, store.AnchorAtClose} {
				for nth, hit := 1, true; hit; nth++ { // call 0 makes the volume
					hit = anchorFaultRun(t, fault, nth, sticky, every)
					if t.Failed() {
						t.Fatalf("fault %d, call %d, sticky %v, every %v", fault, nth, sticky, every)
					}
				}
			}
		}
	}
}

func anchorFaultRun(t *testing.T, fault storetest.Fault, nth int, sticky bool, every time.Duration) (hit bool) {
	t.Helper()
	a := newUnopened(t)
	a.options.AnchorEvery = every
	a.anchor.Fault = func(n int) storetest.Fault {
		if n == nth || sticky && n > nth {
			hit = true
			return fault
		}
		return storetest.NoFault
	}
	acked := 0
	tolerate := func(err error) bool {
		t.Helper()
		if err != nil && (!errors.Is(err, storetest.ErrAnchorFault) || !strings.Contains(err.Error(), store.ErrAnchorUnavailable.Error())) {
			t.Fatal(err)
		}
		return err == nil
	}
	for session := range 3 {
		s, err := store.Open(bg, a.host, a.options)
		if !tolerate(err) {
			continue
		}
		for i := range 4 {
			if err := a.update(s, []edit{{key: store.Key{Object: uint64(20 + i), Type: 1}, here: true, content: content{session*10 + i, 30}}}, false); err != nil {
				tolerate(err)
				break
			}
			if i == 2 {
				tolerate(s.Checkpoint(bg))
			}
			if tolerate(s.Commit(bg)) {
				acked = a.last
			}
		}
		tolerate(s.Close())
		a.history = a.history.fork(a.last)
	}
	a.anchor.Fault = nil
	s, err := store.Open(bg, a.host, a.options)
	if err != nil {
		t.Fatalf("an honest volume: %v", err)
	}
	if state, err := a.present(s); err != nil || state < acked {
		t.Errorf("state %d, acknowledged %d: %v", state, acked, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return hit
}

// A root that is made while it is unknown what the anchor has says so: what was
// asked for may be taken at any time.
func TestAnchorPendingInRoot(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
		a := newAnchored(t)
		a.close(t)
		a.options.AnchorWait = time.Hour
		a.open(t)
		ctx, cancel := context.WithCancel(bg)
		a.anchor.Fault = func(int) storetest.Fault { cancel(); return fault }
		a.put(t, 50, content{0, 700})
		if err := a.s.Commit(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("commit: %v", err)
		}
		a.put(t, 51, content{0, 700})
		for range 2 {
			if err := a.s.Checkpoint(bg); err != nil {
				t.Fatal(err)
			}
		}
		a.anchor.Fault = nil
		a.opens(t, a.crash().host)
		a.close(t)
	}
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// rescued is a volume without records, of four sessions that wrote values of
// a, b, c and d, with a snapshot. The last one crashed, and what it let go of is there still.
func rescued(t *testing.T) *memhost.Host {
	t.Helper()
	h := memhost.New(memhost.Options{})
	storetest.Create(t, h, 8<<20)
	var before *memhost.Host
	for session := range byte(4) {
		before = h.Clone()
		s := storetest.Open(t, h)
		if session == 2 {
			if _, err := s.TakeSnapshot(bg, "kept", nil); err != nil {
				t.Fatal(err)
			}
		}
		for i := range byte(20) {
			put(t, s, uint64(i), strings.Repeat(string('a'+session), 300))
		}
		if err := s.Commit(bg); err != nil {
			t.Fatal(err)
		}
		crashed := h.Clone()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if session == 3 {
			h = crashed // its root is at the start of its log alone
		}
	}
	for _, id := range before.SegmentIDs() {
		if h.Segment(id) == nil {
			h.SetSegment(id, before.Segment(id))
		}
	}
	return loseRecords(h)
}

func rescue(ctx context.Context, h host.Volume) (store.Recovery, error) {
	return store.Recover(ctx, h, store.RecoverOptions{Options: store.Options{Unlocker: storetest.Unlocker("test")}})
}

// stateOf is what all values of a volume begin with, as it was recovered.
func stateOf(t *testing.T, v *memhost.Host, rec store.Recovery) string {
	t.Helper()
	h := v.Clone()
	for name, value := range rec.Records() {
		h.SetRecord(name, value)
	}
	s := storetest.Open(t, h)
	defer s.Close()
	first := get(t, s, 0)
	for i := range uint64(20) {
		if v := get(t, s, i); len(v) != 300 || v != first {
			t.Fatalf("a mix of states: %q and %q", first, v)
		}
	}
	return first[:1]
}

// eachFault runs fn on a host that the rule hits in the first call, the second, and
// so on to the last, then more seldom.
func eachFault(t *testing.T, v host.Volume, rule faulthost.Rule, dense int, fn func(h *faulthost.Host, what string)) {
	t.Helper()
	rule.Ops = faulthost.Reads
	for hit := true; hit; rule.Nth += 1 + rule.Nth/dense {
		h := faulthost.New(v)
		h.Add(rule)
		what := fmt.Sprintf("fault %d, sticky %v, call %d", rule.Fault, rule.Sticky, rule.Nth)
		within(t, what, func() { fn(h, what) })
		hit = h.Hits() > 0
	}
}

// A call that fails, or that gives a part, is not the end of the data: what is
// recovered is the newest state, or it is said that a newer one may be there.
func TestRecoverFailingReads(t *testing.T) {
	v := rescued(t)
	older := 0
	for _, fault := range []faulthost.Fault{faulthost.FailBefore, faulthost.FailAfter, faulthost.ShortRead, faulthost.EmptyRead, faulthost.NegativeRead, faulthost.LongRead} {
		for _, sticky := range []bool{false, true} {
			eachFault(t, v, faulthost.Rule{Fault: fault, Sticky: sticky}, 30, func(h *faulthost.Host, what string) {
				rec, err := rescue(bg, h)
				if err != nil {
					typed(t, err, append(ofHost, faulthost.ErrInjected)...)
					return
				}
				got := stateOf(t, v, rec)
				if got == "d" {
					return // by the newest root, or one whose log leads there
				}
				older++
				if rec.Summary.Unread == 0 || rec.Summary.UnreadFirst == nil {
					t.Errorf("%s: it goes back without a word: %+v", what, rec.Summary)
				}
			})
		}
	}
	if older == 0 {
		t.Error("no older state was ever recovered: nothing is tested")
	}
}

// A host that does not answer keeps nobody beyond the end of his context.
func TestRecoverHangs(t *testing.T) {
	v := rescued(t)
	var stop context.CancelFunc // the call that hangs ends the context
	rule := faulthost.Rule{Fault: faulthost.Hang, Sticky: true, Hit: func() { stop() }}
	eachFault(t, v, rule, 5, func(h *faulthost.Host, what string) {
		var ctx context.Context
		ctx, stop = context.WithCancel(bg)
		defer stop()
		if _, err := rescue(ctx, h); h.Hits() > 0 && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	})
}

// answersThatLie are what a host can do with its answers, without failing. Nodes are
// read side by side, so a buffer that changes later may do so while it is verified: a
// race by intent, which the detector is not shown.
var answersThatLie = slices.DeleteFunc([]faulthost.Fault{
	faulthost.FlipRead, faulthost.ScribbleLater, faulthost.ShortRead, faulthost.EmptyRead, faulthost.LongRead, faulthost.NegativeRead,
	faulthost.HugeRecord, faulthost.CutRecord, faulthost.FlipRecord, faulthost.OldRecord, faulthost.NoVersion,
	faulthost.NegativeSizes, faulthost.HugeSizes, faulthost.DoubleList, faulthost.StrangeIDs, faulthost.EmptyList,
}, func(f faulthost.Fault) bool { return raced && f == faulthost.ScribbleLater })

// A host that lies to who recovers can hide states from him, but not make one up or mix
// two: buffers that change after they were given, records and lists that lie, with
// records that are there and without.
func TestRecoverLyingHost(t *testing.T) {
	without := rescued(t)
	with := without.Clone()
	rec := mustRecover(t, with, storetest.Secret("test"))
	for name, value := range rec.Records() {
		with.SetRecord(name, value)
	}
	recovered := 0
	for _, fault := range answersThatLie {
		for _, v := range []*memhost.Host{without, with} {
			for _, sticky := range []bool{false, true} {
				eachFault(t, v, faulthost.Rule{Fault: fault, Sticky: sticky}, 20, func(h *faulthost.Host, what string) {
					rec, err := rescue(bg, h)
					if err != nil {
						typed(t, err, append(ofHost, store.ErrNoVolume)...)
						return
					}
					recovered++
					if got := stateOf(t, v, rec); got < "a" || got > "d" {
						t.Errorf("%s: it recovers %q", what, got)
					} else if fault == faulthost.ScribbleLater && got != "d" {
						t.Errorf("%s: what was verified is not what is used: %q", what, got)
					}
				})
			}
		}
	}
	if recovered < 100 {
		t.Errorf("only %d times something is recovered", recovered)
	}
}

// A list of a million segments that are not there bounds what is looked for.
func TestRecoverHugeList(t *testing.T) {
	v := rescued(t)
	h := faulthost.New(v)
	h.Add(faulthost.Rule{Fault: faulthost.HugeList, Sticky: true})
	within(t, "a list of a million", func() {
		if rec, err := rescue(bg, h); err != nil {
			typed(t, err, store.ErrNoVolume)
		} else if got := stateOf(t, v, rec); got != "d" {
			t.Errorf("it recovers %q", got)
		}
	})
}

// With an anchor a host that fails or lies gets nothing older recovered than the anchor
// knows, whatever it hides.
func TestRecoverAnchoredFaultyHost(t *testing.T) {
	v := countingVolume(t)
	v.count(t, 20, 40)
	v.count(t, 40, 60)
	loseRecords(v.host)
	recovered := 0
	for _, fault := range append([]faulthost.Fault{faulthost.FailBefore, faulthost.FailAfter}, answersThatLie...) {
		for _, sticky := range []bool{false, true} {
			eachFault(t, v.host, faulthost.Rule{Fault: fault, Sticky: sticky}, 20, func(h *faulthost.Host, what string) {
				rec, err := store.Recover(bg, h, store.RecoverOptions{Options: v.options()})
				if err != nil {
					typed(t, err, append(ofHost, faulthost.ErrInjected, store.ErrNoVolume, store.ErrRolledBack, store.ErrForked)...)
					return
				}
				recovered++
				c := anchoredVolume{v.host.Clone(), v.anchor}
				for name, value := range rec.Records() {
					c.host.SetRecord(name, value)
				}
				if got := c.reads(t, v.options()); got != 59 || !rec.Summary.Anchored {
					t.Errorf("%s: it counted to %d: %+v", what, got, rec.Summary)
				}
			})
		}
	}
	if recovered < 50 {
		t.Errorf("only %d times something is recovered", recovered)
	}
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// scrubOn opens a volume on a host and scrubs it under a rule, then without.
func scrubOn(t *testing.T, v *vault, rule faulthost.Rule, scrub func(h *faulthost.Host, s *store.Store, o store.ScrubOptions)) (hit bool) {
	t.Helper()
	h := faulthost.New(v.host.Clone())
	s := storetest.Open(t, h)
	h.Add(rule)
	o := store.ScrubOptions{BytesPerSecond: -1}
	o.SetSlice(1000)
	within(t, fmt.Sprintf("%+v", rule), func() { scrub(h, s, o) })
	hit = h.Hits() > 0
	h.Clear()
	if r, err := s.Scrub(bg, store.ScrubOptions{Restart: true}); err != nil || !r.Complete || r.Damaged > 0 {
		t.Errorf("%+v, afterwards: %v, %+v", rule, err, r)
	}
	if err := s.Close(); err != nil {
		t.Errorf("%+v: %v", rule, err)
	}
	return hit
}

// A call that fails, and a lie, make a scrub say so; they neither end it in a panic nor
// hurt the volume.
func TestScrubFaultyHost(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	for fault := faulthost.FailBefore; fault <= faulthost.EmptyList; fault++ {
		for n, hit := 0, fault != faulthost.Hang && fault != faulthost.Pretend; hit; n++ {
			hit = scrubOn(t, v, faulthost.Rule{Ops: faulthost.Reads, Fault: fault, Nth: n}, func(_ *faulthost.Host, s *store.Store, o store.ScrubOptions) {
				if r, err := s.Scrub(bg, o); err != nil {
					typed(t, err, append(ofHost, faulthost.ErrInjected)...)
				} else if !r.Complete || r.Damaged > 0 {
					t.Errorf("fault %d in call %d: %+v", fault, n, r)
				}
			})
		}
	}
}

// A host that hangs keeps no scrub beyond the end of its context, and of the one for
// the position: the call that hangs ends them.
func TestScrubHangs(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	for n, hit := 0, true; hit; n++ {
		ctx, stop := context.WithCancel(bg)
		forPosition, stopPosition := context.WithCancel(bg)
		keeping := false // in the one goroutine that scrubs
		rule := faulthost.Rule{Ops: faulthost.Reads, Fault: faulthost.Hang, Nth: n, Sticky: true, Hit: func() {
			stop()
			if keeping {
				stopPosition()
			}
		}}
		hit = scrubOn(t, v, rule, func(h *faulthost.Host, s *store.Store, o store.ScrubOptions) {
			o.SetKeepFor(func(context.Context) (context.Context, context.CancelFunc) {
				keeping = true
				return forPosition, stopPosition
			})
			r, err := s.Scrub(ctx, o)
			if h.Hits() > 0 && !errors.Is(err, context.Canceled) && r.Unkept == "" {
				t.Errorf("call %d hangs: %v, %+v", n, err, r)
			}
		})
		stop()
		stopPosition()
	}
}

// allHit is a volume of which every data frame is damaged, and their keys.
func allHit(t *testing.T) (*vault, []store.Key) {
	t.Helper()
	v, at := filled(t)
	v.close(t)
	var keys []store.Key
	for _, e := range at {
		v.host.FlipBit(e.Segment, int64(e.Offset), 0)
	}
	s := storetest.Open(t, v.host.Clone())
	defer s.Close()
	r, err := s.Scrub(bg, store.ScrubOptions{BytesPerSecond: -1})
	if !errors.Is(err, store.ErrDamaged) || len(r.Damage) < len(at)-1 {
		t.Fatalf("%v, %+v", err, r)
	}
	for _, d := range r.Damage {
		keys = append(keys, d.Key)
	}
	return v, keys
}

// Whatever call fails, before or after its effect, while a pass goes on, ends and is
// taken up again: all that is damaged is found by the time the pass is complete, so
// nothing was passed over that was not read; and a position is not lost without a word.
func TestScrubPositionUnderFaults(t *testing.T) {
	v, keys := allHit(t)
	resumed, lost := 0, 0
	for _, fault := range []faulthost.Fault{faulthost.FailBefore, faulthost.FailAfter, faulthost.FailHalfway, faulthost.FlipRecord, faulthost.CutRecord, faulthost.HugeRecord, faulthost.OldRecord, faulthost.NoVersion, faulthost.ShortRead, faulthost.EmptyRead} {
		for n, hit := 0, true; hit; n++ {
			what := fmt.Sprintf("fault %d in call %d", fault, n)
			h := faulthost.New(v.host.Clone())
			s := storetest.Open(t, h)
			h.Add(faulthost.Rule{Ops: faulthost.Reads | faulthost.Swap, Fault: fault, Nth: n})
			var r store.ScrubReport
			kept := false // a position of an unfinished pass was kept by the run before
			for runs := 0; !r.Complete; runs++ {
				if runs == 20 {
					t.Fatalf("%s: no pass comes to its end: %+v", what, r)
				}
				ctx, stop := context.WithCancel(bg)
				o := store.ScrubOptions{BytesPerSecond: -1, Progress: func(r store.ScrubReport) {
					if r.Frames%3 == 2 && runs < 3 {
						stop()
					}
				}}
				o.SetSlice(1000)
				r, _ = s.Scrub(ctx, o)
				stop()
				if kept && !r.Resumed && r.Lost == "" {
					t.Errorf("%s: the position is lost without a word: %+v", what, r)
				}
				if r.Resumed {
					resumed++
				}
				if r.Lost != "" {
					lost++
				}
				kept = !r.Complete && r.Unkept == ""
			}
			var found []store.Key
			told := false // that a node was not given, and so what it leads to was not read
			for _, d := range r.Damage {
				found = append(found, d.Key)
				told = told || d.Part == store.PartNode
			}
			for _, k := range keys {
				if !told && !slices.Contains(found, k) {
					t.Errorf("%s: %v was passed over: %+v", what, k, r)
				}
			}
			hit = h.Hits() > 0
			h.Clear()
			s.Close()
		}
	}
	if resumed == 0 || lost == 0 {
		t.Errorf("%d passes were taken up, %d positions were lost: nothing is tested", resumed, lost)
	}
}

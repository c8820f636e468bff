package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

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
	o.SetKeepWait(20 * time.Millisecond)
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

// A host that hangs keeps no scrub beyond the end of its context, and a moment for the
// position.
func TestScrubHangs(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	for n, hit := 0, true; hit; n++ {
		rule := faulthost.Rule{Ops: faulthost.Reads, Fault: faulthost.Hang, Nth: n, Sticky: true}
		hit = scrubOn(t, v, rule, func(h *faulthost.Host, s *store.Store, o store.ScrubOptions) {
			ctx, stop := context.WithTimeout(bg, 20*time.Millisecond)
			defer stop()
			r, err := s.Scrub(ctx, o)
			if h.Hits() > 0 && !errors.Is(err, context.DeadlineExceeded) && r.Unkept == "" {
				t.Errorf("call %d hangs: %v, %+v", n, err, r)
			}
		})
	}
}

package store_test

import (
	"context"
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// Emptying must lose nothing, whatever the extents look like, keep the Views that
// see the old places, and leave nothing where it was.
func TestEmpty(t *testing.T) {
	ctx := context.Background()
	rng := newRand(t)
	v := memhost.New(memhost.Options{Spares: 4})
	storetest.Create(t, v, 64<<20)
	s := storetest.Open(t, v)
	f := newFiles(t, rng, 300<<10)
	for range 6 {
		for range 150 {
			if err := f.step(s, 12); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
		before := s.Live()
		err := s.View(ctx, func(tx *store.Tx) error {
			if err := s.EmptyAll(ctx); err != nil {
				return err
			}
			return f.checkTx(s, tx)
		})
		if err != nil {
			t.Fatal(err)
		}
		f.mustCheck(s)
		open := 0
		for id := range s.Live() {
			if _, was := before[id]; was {
				open++
			}
		}
		if open > 2 {
			t.Errorf("%d segments are still there, of which two may be open", open)
		}
		if rng.IntN(2) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = storetest.Open(t, v)
			f.mustCheck(s)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Cut off at every call to the host while segments are emptied, and deleted before
// their checkpoint, a volume has everything that was in it, also if what was not
// durable is lost.
func TestCleanCrash(t *testing.T) {
	ctx := context.Background()
	rng := newRand(t)
	v, f := aged(t, rng, 8<<20, 250)
	clean := func(s *store.Store) error {
		for range 20 {
			err := s.CleanStep(ctx)
			if errors.Is(err, store.ErrFull) {
				break
			}
			if err != nil {
				return err
			}
		}
		return s.Checkpoint(ctx)
	}
	for n, cuts := 0, 0; ; n++ {
		h := v.Clone()
		s, err := openWith(h, oldSecret)
		if err != nil {
			t.Fatal(err)
		}
		h.CutAt(h.Calls()+n, memhost.Cut(1+n%3))
		err = clean(s)
		if err == nil {
			t.Logf("%d cuts", cuts)
			if cuts < 5 {
				t.Error("there was hardly anything to clean")
			}
			_ = s.Close()
			return
		}
		cuts++
		_ = s.Close()
		for _, decide := range []func(int, memhost.Pending) memhost.Fate{nil, memhost.DropAll, memhost.KeepAll} {
			after := h.Crash(memhost.CrashOptions{Seed: rng.Uint64(), Decide: decide})
			s, err := openWith(after, oldSecret)
			if err != nil {
				t.Fatalf("cut %d: %v", n, err)
			}
			f.mustCheck(s)
			if err := clean(s); err != nil {
				t.Fatalf("cut %d: cleaning on: %v", n, err)
			}
			f.mustCheck(s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

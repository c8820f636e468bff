package store_test

import (
	"context"
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

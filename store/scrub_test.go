package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/coffer-fs/coffer/store"
)

func TestScrub(t *testing.T) {
	v, at := filled(t)
	r, err := v.s.Scrub(bg, store.ScrubOptions{})
	if err != nil || !r.Complete || r.Resumed || r.Frames != int64(len(at)) || r.Unkept != "" {
		t.Fatalf("%v, %+v", err, r)
	}
	v.close(t)
	v.open(t)
	defer v.s.Close()
	if r, err = v.s.Scrub(bg, store.ScrubOptions{}); err != nil || r.Resumed || r.Nodes == 0 || r.Pages == 0 {
		t.Fatalf("a pass after one that was complete: %v, %+v", err, r)
	}
	// What was read before and lies in a cache is read anew.
	if err := v.readOne(v.s, dataKey(11, 700), v.last); err != nil {
		t.Fatal(err)
	}
	v.host.FlipBit(at[11].Segment, int64(at[11].Offset)+3, 2)
	r, err = v.s.Scrub(bg, store.ScrubOptions{})
	if !errors.Is(err, store.ErrDamaged) || !r.Complete || r.Damaged != 1 || r.Damage[0].Key != dataKey(11, 700) {
		t.Fatalf("%v, %+v", err, r)
	}
}

// A pass goes on in another session, and knows what it found before.
func TestScrubResumes(t *testing.T) {
	v, at := filled(t)
	v.host.FlipBit(at[10].Segment, int64(at[10].Offset), 0)
	o := store.ScrubOptions{}
	o.SetSlice(1000)
	ctx, stop := context.WithCancel(bg)
	o.Progress = func(r store.ScrubReport) {
		if r.Frames >= 3 { // in the second slice
			stop()
		}
	}
	r, err := v.s.Scrub(ctx, o)
	if !errors.Is(err, context.Canceled) || r.Complete || r.Next == (store.Key{}) {
		t.Fatalf("%v, %+v", err, r)
	}
	v.close(t)
	forged := v.fork()
	v.open(t)
	defer v.s.Close()
	o.Progress = nil
	again, err := v.s.Scrub(bg, o)
	if !errors.Is(err, store.ErrDamaged) || !again.Resumed || !again.Complete || again.Damaged != 1 || again.Damage[0].Key != dataKey(10, 700) {
		t.Fatalf("%v, %+v", err, again)
	}
	// A position that somebody made up counts for nothing.
	for _, spoil := range []func(b []byte) []byte{
		func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		func(b []byte) []byte { b[30] ^= 1; return b },
		func(b []byte) []byte { return b[:40] },
		func([]byte) []byte { return nil },
	} {
		h := forged.host.Clone()
		h.SetRecord("scrub", spoil(h.Record("scrub")))
		s := mustOpen(t, h, oldSecret)
		if r, err := s.Scrub(bg, o); !errors.Is(err, store.ErrDamaged) || r.Resumed || r.Frames != 4 {
			t.Errorf("%v, %+v", err, r)
		}
		s.Close()
	}
}

// Changes, commits, checkpoints, cleaning and snapshots go on, and nothing of that is
// taken for damage.
func TestScrubWhileUsed(t *testing.T) {
	h, f := aged(t, newRand(t), 16<<20, 50)
	s := mustOpen(t, h, oldSecret)
	k := &keeping{files: f, s: s}
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(bg)
	wg.Go(func() {
		for ctx.Err() == nil {
			o := store.ScrubOptions{BytesPerSecond: -1}
			o.SetSlice(100 << 10)
			if _, err := s.Scrub(ctx, o); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 300 {
		if err := k.step(); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			if err := s.EmptyAll(bg); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	wg.Wait()
	if err := k.checkKept(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

package store_test

import (
	"errors"
	"flag"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

var crashLoops = flag.Int("crash.loops", 600, "how many times TestCrashLoop opens and crashes")

// A volume of the smallest size, 90 % full, crashes again and again while it is
// opened, as soon as it is open, or a little later: each session leaves a log segment behind. It must
// neither grow out of its size nor end as one that is too full to be opened.
func TestCrashLoop(t *testing.T) {
	rng := newRand(t)
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, store.MinCapacity)
	s := storetest.Open(t, v)
	space := s.Space()
	limit := (space.Used + space.Available) * 90 / 100
	objects := uint64(0)
	for s.Space().Used < limit {
		objects++
		if err := writeFile(s, objects, pool[:16<<10]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(bg); err != nil {
		t.Fatal(err)
	}
	fates := []func(int, memhost.Pending) memhost.Fate{nil, memhost.DropAll, memhost.KeepAll}
	most := 0
	for i := range *crashLoops {
		v = v.Crash(memhost.CrashOptions{Seed: rng.Uint64(), Decide: fates[rng.IntN(3)]})
		_ = s.Close()
		if rng.IntN(2) == 0 { // in the middle of opening, and of cleaning while it opens
			v.CutAt(v.Calls()+rng.IntN(40), memhost.Cut(1+rng.IntN(3)))
			if s, err := store.Open(bg, v, store.Options{Unlocker: storetest.Unlocker("test")}); err == nil {
				_ = s.Close()
			}
			v = v.Crash(memhost.CrashOptions{Seed: rng.Uint64(), Decide: fates[rng.IntN(3)]})
		}
		var err error
		if s, err = store.Open(bg, v, store.Options{Unlocker: storetest.Unlocker("test")}); err != nil {
			t.Fatalf("time %d: %v", i, err)
		}
		most = max(most, len(v.SegmentIDs()))
		switch rng.IntN(3) {
		case 0:
			err = writeFile(s, 1+rng.Uint64N(objects), pool[rng.IntN(1000):][:16<<10])
		case 1:
			err = s.Commit(bg)
		}
		if err != nil && !errors.Is(err, store.ErrFull) {
			t.Fatalf("time %d: %v", i, err)
		}
	}
	t.Logf("%d times; at most %d segments, the volume has %d", *crashLoops, most, store.MinCapacity>>20)
	if most > store.MinCapacity>>20+8 {
		t.Errorf("there were %d segments", most)
	}
	if _, err := s.Check(bg, nil); err != nil {
		t.Fatal(err)
	}
	for o := range objects {
		if err := removeFile(s, o+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeFile(s, 1, pool[:1<<20]); err != nil {
		t.Errorf("after everything was removed: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// fileSize is what fillUp writes under each object.
const fileSize = 100 << 10

// writeFile writes an object as a filesystem does: the room is reserved first.
func writeFile(s *store.Store, object uint64, data []byte) error {
	ctx := context.Background()
	if err := s.Reserve(int64(len(data))); err != nil {
		return err
	}
	f := s.NewFlush()
	defer f.Close()
	defer s.Unreserve(int64(len(data)))
	extents, err := f.Seal(ctx, object, 0, data)
	if err != nil {
		return fmt.Errorf("room was reserved: %w", err)
	}
	return s.UpdateReserved(ctx, func(tx *store.Tx) error {
		if err := punch(tx, object, 0, uint64(len(data))); err != nil {
			return err
		}
		k := store.Key{Object: object, Type: store.TypeExtent}
		for _, e := range extents {
			k.Sub += uint64(e.Count)
			if err := tx.Put(k, e.Append(nil)); err != nil {
				return err
			}
		}
		return nil
	})
}

func removeFile(s *store.Store, object uint64) error {
	return s.UpdateFreeing(context.Background(), func(tx *store.Tx) error { return punch(tx, object, 0, fileSize) })
}

// fillUp writes objects from first on until the volume is full, and returns the
// number behind the last.
func fillUp(t *testing.T, s *store.Store, first uint64) uint64 {
	t.Helper()
	data := make([]byte, fileSize)
	for o := first; ; o++ {
		err := writeFile(s, o, data)
		if errors.Is(err, store.ErrFull) {
			return o
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A full volume refuses data, lets data be deleted, and then takes data again:
// also after a crash, and as small as a volume can be.
func TestFull(t *testing.T) {
	for _, capacity := range []int64{store.MinCapacity, 20 << 20, 64 << 20} {
		t.Run(fmt.Sprintf("%d MiB", capacity>>20), func(t *testing.T) { testFull(t, capacity) })
	}
}

func testFull(t *testing.T, capacity int64) {
	ctx := context.Background()
	rng := newRand(t)
	v := memhost.New(memhost.Options{LimitBytes: capacity + 8<<20})
	storetest.Create(t, v, capacity)
	s := storetest.Open(t, v)
	next, objects := uint64(1), []uint64{}
	for round := range 8 {
		end := fillUp(t, s, next)
		for ; next < end; next++ {
			objects = append(objects, next)
		}
		if round == 0 && int64(len(objects))*fileSize < capacity*4/10 {
			t.Errorf("%d of %d bytes can be used", len(objects)*fileSize, capacity)
		}
		if err := s.Reserve(1 << 20); !errors.Is(err, store.ErrFull) {
			t.Errorf("reserve on a full volume: %v", err)
		}
		err := s.Update(ctx, func(tx *store.Tx) error { return tx.Put(store.Key{Object: 1}, make([]byte, 3000)) })
		if err != nil && !errors.Is(err, store.ErrFull) {
			t.Error(err)
		}
		if err := s.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		switch rng.IntN(3) {
		case 0:
			v = v.Crash(memhost.CrashOptions{Seed: rng.Uint64()})
			_ = s.Close()
			s = storetest.Open(t, v)
		case 1:
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = storetest.Open(t, v)
		}
		if _, err := s.Check(ctx, nil); err != nil {
			t.Fatal(err)
		}
		rng.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
		drop := len(objects) * (1 + rng.IntN(4)) / 5
		for _, o := range objects[:drop] {
			if err := removeFile(s, o); err != nil {
				t.Fatalf("round %d: delete on a full volume: %v", round, err)
			}
		}
		objects = objects[drop:]
		if end := fillUp(t, s, next); int(end-next) < drop-4 {
			t.Errorf("round %d: after deleting %d objects there was room for %d", round, drop, end-next)
		} else {
			for ; next < end; next++ {
				objects = append(objects, next)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Again and again a full volume crashes as soon as it is open: it must not grow
// out of its capacity, and must be usable in the end.
func TestFullCrashLoop(t *testing.T) {
	ctx := context.Background()
	rng := newRand(t)
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, store.MinCapacity)
	s := storetest.Open(t, v)
	end := fillUp(t, s, 1)
	if err := s.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		v = v.Crash(memhost.CrashOptions{Seed: rng.Uint64()})
		_ = s.Close()
		var err error
		if s, err = store.Open(ctx, v, store.Options{Unlocker: storetest.Unlocker("test")}); err != nil {
			t.Fatalf("time %d: %v", i, err)
		}
		if n := len(v.SegmentIDs()); n > store.MinCapacity>>20+8 {
			t.Fatalf("time %d: %d segments", i, n)
		}
	}
	for o := uint64(1); o < end; o++ {
		if err := removeFile(s, o); err != nil {
			t.Fatal(err)
		}
	}
	if again := fillUp(t, s, end) - end; again < end-4 {
		t.Errorf("there was room for %d objects, and then for %d", end, again)
	}
	if _, err := s.Check(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Many writers on a volume at 95 % must all get on, and so must those who look
// on, commit and checkpoint.
func TestCrowd(t *testing.T) {
	const writers, perWriter = 16, 600
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	seed := newSeed(t)
	v := memhost.New(memhost.Options{Forgetful: true})
	storetest.Create(t, v, 32<<20)
	s := storetest.Open(t, v)
	space := s.Space()
	blocks := int((space.Used+space.Available)*95/100) / (block + 150)
	fill := &overwriter{s: s, data: make([]byte, block), blocks: blocks}
	if err := fill.write(blocks, 64, func(i int) int { return i }); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			o := &overwriter{s: s, data: make([]byte, block)}
			mine := func(int) int { return rng.IntN(blocks/writers)*writers + w }
			if err := o.write(perWriter, 1+rng.IntN(20), mine); err != nil {
				t.Error(err)
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 20 {
				err := s.View(ctx, func(tx *store.Tx) error {
					return tx.Scan(store.Key{}, store.Key{Object: 1 << 60}, func(store.Key, []byte) (bool, error) { return true, nil })
				})
				if err := errors.Join(err, s.Checkpoint(ctx)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		panic("store: writers on a full volume wait for each other") // with all stacks
	}
	if _, err := s.Check(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

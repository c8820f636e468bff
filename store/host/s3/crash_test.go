package s3_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
	"github.com/coffer-fs/coffer/store/storetest"
)

var seedFlag = flag.Uint64("seed", 0, "of random tests; 0 takes a new one")

func newSeed(t *testing.T) uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("-seed %d", seed)
		}
	})
	return seed
}

// history is what a workload did: update n writes n into one of few items, so that
// the items tell which prefix of the history they are.
type history struct {
	last  uint64
	acked uint64
	slots []uint64 // after update last
	was   [][]uint64
}

const slots = 7

func (h *history) key(i int) store.Key { return store.Key{Object: 1, Type: 7, Sub: uint64(i)} }

// run updates and commits, until an error.
func (h *history) run(s *store.Store, r *rand.Rand, count int) error {
	for range count {
		n, i := h.last+1, r.IntN(slots)
		value := binary.BigEndian.AppendUint64(make([]byte, 0, 3000), n)
		value = append(value, make([]byte, r.IntN(2900))...)
		if err := s.Update(ctx, func(tx *store.Tx) error { return tx.Put(h.key(i), value) }); err != nil {
			return err
		}
		h.slots[i] = n
		h.last = n
		h.was = append(h.was, append([]uint64(nil), h.slots...))
		if r.IntN(3) == 0 {
			if err := s.Commit(ctx); err != nil {
				return err
			}
			h.acked = n
		}
		if r.IntN(25) == 0 {
			if err := s.Checkpoint(ctx); err != nil {
				return err
			}
			h.acked = n
		}
	}
	return nil
}

// check finds which prefix a volume is, and goes on from there.
func (h *history) check(s *store.Store) error {
	now := make([]uint64, slots)
	last := uint64(0)
	err := s.View(ctx, func(tx *store.Tx) error {
		for i := range now {
			v, ok, err := tx.Get(h.key(i))
			if err != nil {
				return err
			}
			if ok {
				now[i] = binary.BigEndian.Uint64(v)
			}
			last = max(last, now[i])
		}
		return nil
	})
	if err != nil {
		return err
	}
	if last < h.acked || last > h.last || last > 0 && fmt.Sprint(h.was[last-1]) != fmt.Sprint(now) {
		return fmt.Errorf("%v of update %d was found; %d updates were made, %d acknowledged", now, last, h.last, h.acked)
	}
	h.last, h.was, h.slots = last, h.was[:last], now
	return nil
}

// session opens the volume, checks it and works on it.
func (h *history) session(o s3.Options, r *rand.Rand, count int) (err error) {
	v, err := s3.Open(ctx, url, o)
	if err != nil {
		return err
	}
	defer v.Close()
	s, err := store.Open(ctx, v, store.Options{
		Unlocker: storetest.Unlocker("test"), NodeCacheBytes: 1, FrameCacheBytes: 1, CheckpointBytes: 64 << 10, Takeover: true,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := h.check(s); err != nil {
		return &wrong{err}
	}
	err = h.run(s, r, count)
	return err
}

// wrong is what no fault explains.
type wrong struct{ error }

// newStoreVolume makes a sealed volume in a store for tests.
func newStoreVolume(t *testing.T, server *s3test.Server) s3.Options {
	t.Helper()
	o := direct(server)
	create(t, url, o)
	v, err := s3.Open(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Create(t, v, 64<<20)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestCrash cuts a writer off at a request, so that each is hit in turn: nothing
// that it sends from there on arrives, and the last may have had its effect or
// not. What the next one finds is a prefix of the history with all that was
// acknowledged.
func TestCrash(t *testing.T) {
	t.Parallel()
	seed := newSeed(t)
	for _, how := range []s3test.Fault{s3test.Before, s3test.After} {
		for cut, step := int64(1), int64(1); ; cut += step {
			r := rand.New(rand.NewPCG(seed, uint64(cut)))
			server := s3test.Quiet(nil)
			o := newStoreVolume(t, server)
			o.Patience = 30 * time.Millisecond
			if cut%2 == 0 { // folds beside commits
				o = s3.FoldOften(o, 2)
			}
			h := &history{slots: make([]uint64, slots)}
			var calls atomic.Int64
			server.Break(func(string, string) s3test.Fault {
				switch n := calls.Add(1); {
				case n == cut:
					return how
				case n > cut:
					return s3test.Before
				}
				return s3test.None
			})
			err := h.session(o, r, 60)
			hit := calls.Load() >= cut
			server.Break(nil)
			if w := (*wrong)(nil); errors.As(err, &w) || err != nil && !hit {
				t.Fatalf("cut %d: %v", cut, err)
			}
			for range 2 {
				if err := h.session(direct(server), r, 20); err != nil {
					t.Fatalf("cut %d (%v): %v", cut, how, err)
				}
			}
			if !hit {
				t.Logf("%d requests", cut)
				break
			}
			step = 1 + int64(r.IntN(7))
		}
	}
}

// TestFaults fails one request in five, with effect, without, and with it when nobody
// waits for it any more; and all is as if none had: the client tries again.
func TestFaults(t *testing.T) {
	for _, faults := range [][]s3test.Fault{{s3test.Before}, {s3test.After}, {s3test.Busy}, {s3test.Failed}, {s3test.Late}, {s3test.Before, s3test.After, s3test.Busy, s3test.Failed, s3test.Late}} {
		t.Run(fmt.Sprint(faults), func(t *testing.T) {
			t.Parallel()
			faulty(t, faults, newSeed(t))
		})
	}
}

func faulty(t *testing.T, faults []s3test.Fault, seed uint64) {
	server := s3test.New(t)
	o := newStoreVolume(t, server)
	if o.Transport = nil; len(faults) == 1 { // all together over the wire
		o.Transport = server.Transport()
	}
	o = s3.FoldOften(o, 3)
	h := &history{slots: make([]uint64, slots)}
	r := rand.New(rand.NewPCG(seed, 1))
	server.Break(func(string, string) s3test.Fault { // one call at a time
		if r.IntN(5) > 0 {
			return s3test.None
		}
		return faults[r.IntN(len(faults))]
	})
	work := rand.New(rand.NewPCG(seed, 2))
	for range 3 {
		if err := h.session(o, work, 40); err != nil {
			t.Fatalf("%v: %v", faults, err)
		}
		if h.acked = h.last; h.last == 0 {
			t.Fatal("nothing was done")
		}
	}
}

// What a crash left that nothing refers to is deleted by the next writer, and the
// ends of journals are kept.
func TestSweep(t *testing.T) {
	server := s3test.Quiet(nil)
	o := newStoreVolume(t, server)
	server.Put("volumes/v/data/0000000000000001/00000000000000ff", []byte("lost"))
	entry := func(epoch, index uint64, end bool) string {
		name := fmt.Sprintf("volumes/v/log/%016x/%016x", epoch, index)
		server.Put(name, s3.Entry(epoch, index, end))
		return name
	}
	ends := []string{entry(0, 0xf0, true), entry(0, 0xfe, true), entry(0, 0xff, true), entry(1, 0xff, true)}
	lost := []string{entry(0, 0xfc, false), entry(0, 0xfd, false), entry(1, 0xfe, false)}
	server.Put("volumes/v/data/7000000000000001/0000000000000001", []byte("of another writer, later"))
	server.Put("volumes/v/data/strange", []byte("not ours"))
	server.Put("volumes/w/data/0000000000000001/0000000000000001", []byte("another volume's"))
	v, err := s3.Open(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Acquire(ctx, host.AcquireOptions{}); err != nil { // and it is gone
		t.Fatal(err)
	}
	w, err := v.Acquire(ctx, host.AcquireOptions{Takeover: true})
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return server.Get("volumes/v/data/0000000000000001/00000000000000ff") == nil })
	if err := w.Release(ctx); err != nil {
		t.Fatal(err)
	}
	names := strings.Join(server.Objects(), "\n")
	for _, kept := range append(ends, "volumes/v/data/7000000000000001/0000000000000001",
		"volumes/v/data/strange", "volumes/w/data/0000000000000001/0000000000000001") {
		if !strings.Contains(names, kept) {
			t.Errorf("%s was deleted", kept)
		}
	}
	for _, name := range lost {
		if strings.Contains(names, name) {
			t.Errorf("%s, which nobody needs, is still there", name)
		}
	}
}

// until waits for something that happens in the background.
func until(t *testing.T, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

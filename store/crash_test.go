package store_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "seed of the random tests, 0 for a new one")
	crashFor  = flag.Duration("crash.for", 0, "how long TestCrashFor goes on")
	crashCuts = flag.Int("crash.cuts", defaultCrashCuts, "how many cuts TestCrash tries at least")
)

func newSeed(t testing.TB) uint64 {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed %d", s)
	return s
}

// TestCrash runs random operations on the host that can crash, kills the machine
// in every host call of them, and checks what is found afterwards:
//
//   - the volume opens, and is in a state that it once had, no older than the
//     last acknowledged Commit; so are its snapshots and its size, and each
//     snapshot holds what was there when it was taken
//   - every frame verifies, and the accounting is exact
//   - no segment is left on the host that the volume does not need
//   - it can be written on, crash again (in the middle of recovery too), be
//     closed and be opened again
func TestCrash(t *testing.T) {
	start, seed, cuts, runs := time.Now(), newSeed(t), 0, uint64(0)
	for ; cuts < *crashCuts; runs++ {
		cuts += crashRun(t, seed+runs)
	}
	t.Logf("%d cuts in %d runs, %.1f s", cuts, runs, time.Since(start).Seconds())
}

// outcomesPerRound is how many outcomes TestCrashFor tries of short runs, every
// twenty runs that it cuts.
const outcomesPerRound = 4000

// TestCrashFor is TestCrash, TestCrashRemote, TestCrashBucket, TestA36_ReorderUnsynced,
// TestFaults and TestFaultsOfBucket for as long as -crash.for says.
func TestCrashFor(t *testing.T) {
	seed, cuts, faults, runs := newSeed(t), 0, 0, uint64(0)
	var m matrix
	for start := time.Now(); time.Since(start) < *crashFor; runs++ {
		cuts += crashRun(t, seed+runs)
		if runs%20 == 0 {
			m.run(t, seed+runs, outcomesPerRound)
			fmt.Printf("%d cuts in %d runs; %v; %d faults; %.0f s, now -seed %d\n", cuts, runs+1, &m, faults, time.Since(start).Seconds(), seed+runs)
		}
		if runs%20 == 10 {
			n, _ := crashRemoteRun(t, seed+runs, math.MaxInt)
			cuts += n
		}
		if runs%20 == 15 {
			cuts += crashBucketRun(t, seed+runs, math.MaxInt)
		}
		if runs%200 == 100 {
			faults += failAll(t, seed+runs, math.MaxInt) + failAllRequests(t, seed+runs, math.MaxInt)
		}
	}
	t.Logf("%d cuts in %d runs; %v; %d faults", cuts, runs, &m, faults)
}

// snapshot is the machine between two host calls, and what is known then.
type snapshot struct {
	disk    *memhost.Host
	anchor  *storetest.Anchor // at the same moment; nil if there is none
	call    string            // the one about to be made
	created bool              // Create has returned
	bounds                    // from what was acknowledged to what was begun
}

// recorder is a host that keeps a snapshot from before every changing call.
type recorder struct {
	storetest.Before
	anchor  *storetest.Anchor // nil if there is none
	created atomic.Bool
	left    *store.Store // which was not closed
	far     *far         // the host process that has the disk, if one has
	bucket  *bucket      // the object store that has it, if one has
	progress

	mu    sync.Mutex
	snaps []snapshot
}

// newRecorder records what happens on h and, if it is not nil, to the anchor.
func newRecorder(h *memhost.Host, a *storetest.Anchor) *recorder {
	r := &recorder{Before: storetest.Before{Host: h}, anchor: a}
	r.Call = r.snap
	if a != nil {
		a.Around = r.snap
	}
	return r
}

func (r *recorder) snap(call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := snapshot{call: call, created: r.created.Load(), bounds: r.progress.now()}
	copyDisk := func() { s.disk = r.now().Clone() }
	if r.anchor != nil {
		s.anchor = r.anchor.Hold(copyDisk)
	} else {
		copyDisk()
	}
	s.most = r.progress.now().most // after the copy, as the least is from before
	r.snaps = append(r.snaps, s)
}

// plan is what differs from run to run.
type plan struct {
	host     memhost.Options
	capacity int64
	options  store.Options
	steps    int
	keys     uint64
	slots    int
	anchored bool
	operations
}

// newestSlot opens the slot of the newest generation, made by storetest.Secret.
type newestSlot struct{}

func (newestSlot) Unlock(_ context.Context, slots []store.Slot) (int, key.Key, error) {
	newest := 0
	for i, s := range slots {
		if s.Generation > slots[newest].Generation {
			newest = i
		}
	}
	return newest, storetest.Secret(string(slots[newest].Descriptor)).Key, nil
}

func newPlan(r *rand.Rand) plan {
	p := plan{
		host:       memhost.Options{Spares: r.IntN(6), GrowingEnds: r.IntN(3) == 0, AppendSync: r.IntN(3) == 0},
		capacity:   64 << 20,
		steps:      60 + r.IntN(120),
		operations: operations{rekeys: r.IntN(3) == 0, snapshots: r.IntN(2) == 0, resizes: r.IntN(3) == 0},
		keys:       1 << (3 + r.IntN(8)),
		slots:      1 + r.IntN(16),
		options: store.Options{
			Unlocker:       newestSlot{},
			NodeCacheBytes: 1, FrameCacheBytes: 1 + r.IntN(128<<10),
			CheckpointBytes: 8<<10 + r.IntN(256<<10),
		},
	}
	if r.IntN(3) == 0 {
		p.capacity, p.slots = store.MinCapacity, 1+r.IntN(4)
	}
	if r.IntN(3) == 0 {
		p.anchored = true
		p.options.AnchorEvery = []time.Duration{store.AnchorEveryCommit, store.AnchorAtClose, time.Millisecond}[r.IntN(3)]
	}
	return p
}

// create makes the volume of a plan.
func (p plan) create(h host.Volume, a *storetest.Anchor) error {
	o := store.CreateOptions{Capacity: p.capacity, Secret: storetest.Secret("test")}
	if a != nil {
		o.Anchor = a
	}
	return store.Create(bg, h, o)
}

// open opens the volume of a plan.
func (p plan) open(h host.Volume, a *storetest.Anchor, readOnly bool) (*store.Store, error) {
	o := p.options
	o.ReadOnly = readOnly
	if a != nil {
		o.Anchor = a
	}
	return store.Open(bg, h, o)
}

// crashRun records one run and tries all its cuts. It returns their number.
func crashRun(t *testing.T, seed uint64) int {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	p := newPlan(r)
	rec := newRecorder(memhost.New(p.host), nil)
	if p.anchored {
		rec = newRecorder(rec.Host, &storetest.Anchor{})
	}
	h, err := p.record(rec, r)
	if err != nil {
		t.Fatalf("-seed %d: recording, after %q: %v", seed, rec.calls(), err)
	}
	snaps := rec.end()
	var failed atomic.Bool
	var wg sync.WaitGroup
	next := make(chan int, len(snaps))
	for i := range snaps {
		next <- i
	}
	close(next)
	for range 2 {
		wg.Go(func() {
			for i := range next {
				if failed.Load() {
					return
				}
				c := cut{plan: p, history: h, snapshot: snaps[i], seed: seed<<16 + uint64(i)}
				if i%4 > 0 { // the recording had no cache; looking is quicker with one
					c.options.NodeCacheBytes = 4 << 20
				}
				if err := c.try(); err != nil {
					failed.Store(true)
					t.Errorf("-seed %d: cut %d of %d, before %s, within %v, %s: %v",
						seed, i, len(snaps), c.call, c.bounds, c.fate, err)
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() {
		t.FailNow()
	}
	return len(snaps)
}

// now is the disk at present.
func (r *recorder) now() *memhost.Host {
	if r.far != nil {
		return r.far.now()
	}
	return r.Host
}

// volume is what a store opens to be recorded.
func (r *recorder) volume() host.Volume {
	switch {
	case r.far != nil:
		return r.far.volume
	case r.bucket != nil:
		return r.bucket.volume
	}
	return r
}

// end returns what was recorded, and closes a store that was left open, which went
// on in the background.
func (r *recorder) end() []snapshot {
	r.snap("nothing")
	snaps := r.recorded()
	if r.left != nil {
		_ = r.left.Close()
	}
	return snaps
}

// recorded returns what was recorded up to now.
func (r *recorder) recorded() []snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.snaps)
}

// calls lists the last few calls.
func (r *recorder) calls() (list []string) {
	snaps := r.recorded()
	for _, s := range snaps[max(0, len(snaps)-20):] {
		list = append(list, s.call)
	}
	return list
}

// record makes a volume and runs random operations on it.
func (p plan) record(rec *recorder, r *rand.Rand) (*history, error) {
	if err := p.create(rec.volume(), rec.anchor); err != nil {
		return nil, err
	}
	rec.created.Store(true)
	h := newHistory()
	h.sizes = []int64{p.capacity}
	for left := p.steps; left > 0; {
		s, err := p.open(rec.volume(), rec.anchor, false)
		if err != nil {
			return h, err
		}
		steps := min(left, 1+r.IntN(p.steps))
		o := &operator{writer: writer{history: h, s: s, r: r, keys: p.keys, slots: p.slots}, progress: &rec.progress, far: rec.far, bucket: rec.bucket, plan: p.operations}
		err = o.run(steps)
		if err := errors.Join(err, o.wait()); err != nil {
			return h, err
		}
		left -= steps
		if left == 0 && r.IntN(2) == 0 {
			rec.left = s // open
			return h, nil
		}
		if err := s.Close(); err != nil {
			return h, err
		}
		rec.ack(h.newest())
	}
	return h, nil
}

// cut is one crash and what comes after it.
type cut struct {
	plan
	*history
	snapshot
	seed uint64
	fate string
}

func (c *cut) try() error {
	r := rand.New(rand.NewPCG(c.seed, 2))
	h := c.crash(r)
	if r.IntN(4) == 0 {
		var err error
		if h, err = c.crashInRecovery(h, r); err != nil {
			return err
		}
	}
	// Not every root has a copy, and an anchor refuses an older one.
	if c.created && c.anchor == nil && r.IntN(6) == 0 {
		if err := c.recover(h); err != nil {
			return err
		}
	}
	return c.verify(h, r)
}

// recover takes the records away, and has them found again.
func (c *cut) recover(h *memhost.Host) error {
	c.fate += "without records "
	before := map[string][]byte{}
	for _, name := range h.RecordNames() {
		before[name] = h.Record(name)
		h.RemoveRecord(name)
	}
	rec, err := store.Recover(bg, h, store.RecoverOptions{Options: c.options})
	if err != nil && c.least.state == 0 { // before the first session there may be no copy of a root
		for name, value := range before {
			h.SetRecord(name, value)
		}
		return nil
	}
	if err != nil {
		return err
	}
	w, err := h.Acquire(bg, host.AcquireOptions{Takeover: true})
	if err != nil {
		return err
	}
	c.least.size = 0 // the newest root of which there is a copy may be older
	return errors.Join(rec.Install(bg, w), w.Release(bg))
}

// crash lets the machine crash, or the process alone: then nothing is lost, but
// what was not durable still is not.
//
// An anchor is where no crash reaches it: it is as it was at that moment.
func (c *cut) crash(r *rand.Rand) *memhost.Host {
	if c.anchor == nil {
		return c.crashDisk(r)
	}
	var h *memhost.Host
	c.anchor = c.anchor.Hold(func() { h = c.crashDisk(r) })
	return h
}

func (c *cut) crashDisk(r *rand.Rand) *memhost.Host {
	seed := r.Uint64()
	switch r.IntN(8) {
	case 0:
		c.fate += "kill "
		return c.disk.Kill()
	case 1:
		c.fate += "drop all "
		return c.disk.Crash(memhost.CrashOptions{Seed: seed, Decide: memhost.DropAll})
	case 2:
		c.fate += "keep all "
		return c.disk.Crash(memhost.CrashOptions{Seed: seed, Decide: memhost.KeepAll})
	case 3:
		c.fate += "shred all "
		return c.disk.Crash(memhost.CrashOptions{Seed: seed, Decide: func(int, memhost.Pending) memhost.Fate { return memhost.Shred }})
	}
	c.fate += "any "
	return c.disk.Crash(memhost.CrashOptions{Seed: seed})
}

// crashInRecovery opens the volume and lets the machine crash in the middle of
// that.
func (c *cut) crashInRecovery(h *memhost.Host, r *rand.Rand) (*memhost.Host, error) {
	rec := newRecorder(h, c.anchor)
	s, err := c.open(rec, rec.anchor, false)
	if err != nil {
		if !c.created && errors.Is(err, store.ErrNoVolume) {
			return h, nil
		}
		return nil, fmt.Errorf("open: %w", err)
	}
	defer s.Close()
	rec.mu.Lock()
	again := rec.snaps[r.IntN(len(rec.snaps))]
	rec.mu.Unlock()
	c.fate += "then before " + again.call + " "
	inner := *c
	inner.disk, inner.anchor = again.disk, again.anchor
	h = inner.crash(r)
	c.fate, c.anchor = inner.fate, inner.anchor
	return h, nil
}

// verify opens the volume on h, looks at everything, and goes on using it.
func (c *cut) verify(h *memhost.Host, r *rand.Rand) error {
	s, err := c.open(h, c.anchor, false)
	if !c.created && errors.Is(err, store.ErrNoVolume) {
		if err := c.create(h, c.anchor); err != nil {
			return fmt.Errorf("create again: %w", err)
		}
		s, err = c.open(h, c.anchor, false)
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	m, err := c.look(s, c.bounds)
	if err != nil {
		s.Close()
		return err
	}
	if r.IntN(4) == 0 { // what was shown once must stay
		c.fate += "then "
		crashed := *c
		crashed.disk = h
		h = crashed.crash(r)
		c.fate, c.anchor = crashed.fate, crashed.anchor
		s.Close()
		if s, err = c.open(h, c.anchor, false); err != nil {
			return fmt.Errorf("open again: %w", err)
		}
		if _, err := c.look(s, bounds{m, m}); err != nil {
			s.Close()
			return fmt.Errorf("after %+v was shown: %w", m, err)
		}
	}
	w := writer{history: c.forkAt(m), s: s, r: r, keys: c.keys, slots: c.slots}
	if err := c.goOn(h, &w); err != nil {
		s.Close()
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	return c.closed(h, w.history, r)
}

// listed is a host that says which segments it has.
type listed interface {
	host.Volume
	SegmentIDs() []host.SegmentID
}

// goOn checks and changes the open volume.
func (c *cut) goOn(h listed, w *writer) error {
	if err := checked(w.s, h); err != nil {
		return err
	}
	for range 3 {
		if err := w.randomChange(); err != nil {
			return fmt.Errorf("change: %w", err)
		}
	}
	if c.snapshots && w.r.IntN(4) == 0 {
		c.fate += "snapshots "
		if err := unlessFull(w.changeKept()); err != nil {
			return err
		}
	}
	if c.resizes && w.r.IntN(8) == 0 {
		c.fate += "another size "
		if err := unlessFull(w.resize()); err != nil {
			return err
		}
	}
	if c.rekeys && w.r.IntN(8) == 0 {
		c.fate += "another key "
		for range 3 {
			if err := unlessFull(nextRekeyStep(w.s)); err != nil {
				return err
			}
		}
	}
	if err := w.s.Commit(bg); err != nil {
		return err
	}
	if _, err := w.look(w.s, bounds{w.newest(), w.newest()}); err != nil {
		return fmt.Errorf("after more changes: %w", err)
	}
	return nil
}

// closed looks at the volume after it was closed.
func (c *cut) closed(h listed, now *history, r *rand.Rand) error {
	readOnly := r.IntN(2) == 0
	s, err := c.open(h, c.anchor, readOnly)
	if err != nil {
		return fmt.Errorf("open after close: %w", err)
	}
	defer s.Close()
	if _, err := now.look(s, bounds{now.newest(), now.newest()}); err != nil {
		return fmt.Errorf("after close: %w", err)
	}
	if readOnly {
		_, err := s.Check(bg, nil)
		return err
	}
	return checked(s, h)
}

// checked verifies and recounts everything, and looks for orphans.
func checked(s *store.Store, h listed) error {
	if _, err := s.Check(bg, nil); err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // a delete may be under way
		err := orphans(s, h)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

func orphans(s *store.Store, h listed) (err error) {
	s.Settled(func(ids []host.SegmentID) {
		for _, id := range h.SegmentIDs() {
			if !slices.Contains(ids, id) {
				err = fmt.Errorf("segment %d is left on the host, the volume has %d", id, ids)
			}
		}
	})
	return err
}

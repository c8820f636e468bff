package fs_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

var (
	crashFor      = flag.Duration("crash.for", 0, "how long TestCrashFor goes on")
	crashOutcomes = flag.Int("crash.outcomes", defaultCrashOutcomes, "how many outcomes TestCrash tries at least")
)

// TestCrash records random workloads, and cuts the machine's power at every host
// call of them. Of some cuts it tries all that may be left of what was not synced, up
// to memhost.MaxOutcomes; if there is more, a part of it. Whatever is left, the
// filesystem must be what the model was after some number of operations, no fewer
// than the last fsync acknowledged; each snapshot must be what was there when it was
// taken; the check must find nothing wrong; and it must go on from there.
func TestCrash(t *testing.T) {
	seed := newSeed(t)
	var c crashes
	for run := uint64(0); c.outcomes < *crashOutcomes; run++ {
		if err := c.run(seed+run, *crashOutcomes/4); err != nil {
			t.Fatalf("-seed %d -crash.outcomes 1: %v", seed+run, err)
		}
	}
	t.Log(&c)
}

// TestCrashFor is TestCrash, with all cuts of each workload to the end, and TestFaults, for as
// long as -crash.for says.
func TestCrashFor(t *testing.T) {
	seed := newSeed(t)
	var c crashes
	faults := 0
	for start, run := time.Now(), uint64(0); time.Since(start) < *crashFor; run++ {
		if err := c.run(seed+run, 1<<30); err != nil {
			t.Fatalf("-seed %d: %v", seed+run, err)
		}
		if run%20 == 10 {
			faults += failAll(t, seed+run)
		}
		fmt.Printf("%v; %d faults; %.0f s, now -seed %d\n", &c, faults, time.Since(start).Seconds(), seed+run)
	}
	t.Logf("%v; %d faults", &c, faults)
}

// crashes counts what was tried.
type crashes struct {
	runs     int
	single   int                         // cuts of which one outcome was tried
	cuts     [memhost.Everything + 1]int // by how much was tried of them
	outcomes int
}

func (c *crashes) String() string {
	return fmt.Sprintf("%d cuts of %d filesystems; %d outcomes of %d cuts: all there are of %d, all tears of %d",
		c.single, c.runs, c.outcomes, c.cuts[0]+c.cuts[1]+c.cuts[2], c.cuts[memhost.Everything], c.cuts[memhost.EveryTear])
}

// run records a workload and tries one outcome of each cut, and then all outcomes of
// the cuts, in any order, until it tried so many.
func (c *crashes) run(seed uint64, most int) error {
	c.runs++
	r := rand.New(rand.NewPCG(seed, 6))
	rec := newRecording(r)
	if err := rec.record(r); err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	for i, cut := range rec.cuts {
		s := r.Uint64()
		if err := rec.try(cut, cut.disk.Crash(memhost.CrashOptions{Seed: s}), r); err != nil {
			return fmt.Errorf("cut %d of %d, before %s, operations %d to %d, crash %d: %w", i, len(rec.cuts), cut.call, cut.least, cut.most, s, err)
		}
		c.single++
	}
	for _, i := range r.Perm(len(rec.cuts)) {
		cut, n := rec.cuts[i], 0
		pending := cut.disk.Pending()
		for o := range memhost.Outcomes(pending, seed) {
			h := cut.disk.Crash(memhost.CrashOptions{Seed: r.Uint64(), Outcome: o})
			if err := rec.try(cut, h, r); err != nil {
				return fmt.Errorf("cut %d of %d, before %s, operations %d to %d, %v, %v: %w",
					i, len(rec.cuts), cut.call, cut.least, cut.most, pending, o, err)
			}
			n++
		}
		c.cuts[memhost.Covered(pending)]++
		if c.outcomes += n; n >= most {
			return nil
		}
		most -= n
	}
	return nil
}

// recording is a workload: what was on the disk before each host call of it, and
// what may be found there.
type recording struct {
	game
	states  [][]line    // after so many operations
	changes []keptState // of snapshots, in order
	at      []int       // after how many operations
	// From here on an operation may have failed before the times were known.
	doubtful int

	mu    sync.Mutex
	cuts  []fsCut
	over  bool     // no cut is added any more
	least progress // acknowledged
	most  progress // begun
}

// progress is how far a workload is.
type progress struct{ operations, changes int }

// fsCut is the machine before a host call.
type fsCut struct {
	disk        *memhost.Host
	call        string
	least, most progress
}

func newRecording(r *rand.Rand) *recording {
	rec := &recording{game: game{
		r: r, m: newModel(),
		options: store.Options{Unlocker: storetest.Unlocker("test")},
		fs:      fs.Options{CommitEvery: time.Hour, DirtyBytes: 4096 << r.IntN(6)},
		host:    memhost.New(memhost.Options{Spares: r.IntN(6), GrowingEnds: r.IntN(3) == 0}),
		small:   r.IntN(3) == 0,
	}}
	rec.doubtful = math.MaxInt
	rec.options.CheckpointBytes = 16<<10 + r.IntN(64<<10)
	return rec
}

// snap keeps the present moment.
func (rec *recording) snap(call string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.over {
		return
	}
	// Nothing is acknowledged or begun while the copy is made.
	rec.cuts = append(rec.cuts, fsCut{rec.host.Clone(), call, rec.least, rec.most})
}

func (rec *recording) note(least, most *progress) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if least != nil {
		rec.least = *least
	}
	if most != nil {
		rec.most = *most
	}
}

func (rec *recording) now() progress { return progress{len(rec.states) - 1, len(rec.changes)} }

// record makes a volume and a workload on it.
func (rec *recording) record(r *rand.Rand) error {
	capacity := int64(64 << 20)
	if rec.small {
		capacity = store.MinCapacity
	}
	if err := store.Create(bg, rec.host, store.CreateOptions{Capacity: capacity, Secret: storetest.Secret("test")}); err != nil {
		return err
	}
	if err := rec.format(); err != nil {
		return err
	}
	st, err := store.Open(bg, &storetest.Before{Host: rec.host, Call: rec.snap}, rec.options)
	if err != nil {
		return err
	}
	f, err := fs.Open(bg, st, rec.fs)
	if err != nil {
		return err
	}
	p := &player{r: r, f: f, m: rec.m, full: rec.small, unnamedToo: true}
	if err := p.learn(); err != nil {
		return err
	}
	rec.states = [][]line{p.m.dump()}
	err = rec.work(p, st)
	if r.IntN(2) == 0 { // or it is left open
		err = errors.Join(err, f.Close(), st.Close())
		rec.acknowledge()
	} else {
		defer st.Close()
		defer f.Close()
	}
	rec.snap("nothing")
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.over = true // a volume that was left open goes on in the background
	return err
}

func (rec *recording) acknowledge() {
	now := rec.now()
	rec.note(&now, nil)
}

// work makes the operations.
func (rec *recording) work(p *player, st *store.Store) error {
	for range 15 + p.r.IntN(25) {
		var err error
		switch n := p.r.IntN(40); {
		case n < 5:
			if err = p.f.Sync(); err == nil {
				rec.acknowledge()
			}
		case n == 5:
			err = st.Checkpoint(bg)
		case n < 9:
			err = rec.keepOrDrop(p)
		default:
			most := rec.now()
			most.operations++
			rec.note(nil, &most)
			err = p.step()
			rec.states = append(rec.states, p.m.dump())
		}
		if err != nil && !(rec.small && errors.Is(err, store.ErrFull)) {
			return err
		}
	}
	return nil
}

// keepOrDrop takes or deletes a snapshot.
func (rec *recording) keepOrDrop(p *player) error {
	most := rec.now()
	most.changes++
	rec.note(nil, &most)
	kept := rec.keptAfter(len(rec.changes))
	if len(kept) > 0 && (len(kept) > 2 || p.r.IntN(3) == 0) {
		k := kept[p.r.IntN(len(kept))]
		err := p.f.DeleteSnapshot(k.name)
		rec.changed(keptState{name: k.name}) // perhaps, if it failed
		if err != nil {
			return err
		}
		rec.note(&progress{rec.least.operations, len(rec.changes)}, nil) // what is buffered stays so
		return nil
	}
	k := keptState{name: fmt.Sprintf("snapshot %d", len(rec.changes)), m: p.m.clone()}
	_, err := p.f.TakeSnapshot(k.name)
	done, err := p.same(err, 0)
	if done || err != nil { // perhaps, if it failed
		rec.changed(k)
	}
	if done {
		rec.acknowledge()
	}
	return err
}

func (rec *recording) changed(k keptState) {
	rec.changes, rec.at = append(rec.changes, k), append(rec.at, len(rec.states)-1)
}

// keptAfter lists the snapshots that there are after so many changes.
func (rec *recording) keptAfter(changes int) (list []keptState) {
	for _, k := range rec.changes[:changes] {
		if k.m != nil {
			list = append(list, k)
		} else {
			list = slices.DeleteFunc(list, func(o keptState) bool { return o.name == k.name })
		}
	}
	return list
}

// try looks at what a cut left.
func (rec *recording) try(c fsCut, h *memhost.Host, r *rand.Rand) error {
	st, err := store.Open(bg, h, rec.options)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer st.Close()
	f, err := fs.Open(bg, st, rec.fs)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer f.Close()
	if err := rec.look(c, f); err != nil {
		return err
	}
	if err := soundTree(f.Tree(), rec.small && len(f.Snapshots()) > 0); err != nil {
		return err
	}
	if _, err := st.Check(bg, nil); err != nil {
		return err
	}
	if r.IntN(16) > 0 {
		return nil
	}
	return rec.goOn(f, st, h)
}

// soundTree fails if the check of a filesystem finds anything. What snapshots hold
// on to may leave no room to finish what was cut off.
func soundTree(tree *fs.Tree, crowded bool) error {
	report, err := tree.Check(bg, nil)
	if err == nil && (len(report.Problems) > 0 || report.Orphans+report.Trims > 0 && !crowded) {
		err = fmt.Errorf("check: %+v", report)
	}
	return err
}

// look compares the tree and its snapshots with all that they may be.
func (rec *recording) look(c fsCut, f *fs.FS) error {
	got, err := dumpTree(f)
	if err != nil {
		return err
	}
	why := ""
	for n := min(c.most.operations, len(rec.states)-1); n >= c.least.operations; n-- {
		if diff := differ(rec.states[n], got, n >= rec.doubtful); diff != "" {
			why += fmt.Sprintf("\nafter %d operations: %s", n, diff)
		} else if changes, ok := rec.changesAt(n, c, f.Snapshots()); ok {
			return verifyAll(f, rec.keptAfter(changes))
		} else {
			why += fmt.Sprintf("\nafter %d operations there are other snapshots than %+v", n, f.Snapshots())
		}
	}
	return fmt.Errorf("it is in none of the states it may be in:%s", why)
}

// changesAt finds after how many changes of snapshots, with none of those before so
// many operations missing, and no snapshot of later ones, there are these. Deleting
// may overtake what is buffered.
func (rec *recording) changesAt(operations int, c fsCut, list []fs.Snapshot) (changes int, ok bool) {
	for n := min(c.most.changes, len(rec.changes)); n >= c.least.changes; n-- {
		before := true
		for i, k := range rec.changes[:n] {
			before = before && (k.m == nil || rec.at[i] <= operations)
		}
		behind := n == len(rec.changes) || rec.at[n] >= operations
		same := func(s fs.Snapshot, k keptState) bool { return s.Name == k.name }
		if before && behind && slices.EqualFunc(list, rec.keptAfter(n), same) {
			return n, true
		}
	}
	return 0, false
}

func verifyAll(f *fs.FS, kept []keptState) error {
	for _, k := range kept {
		if err := k.verify(f); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	return nil
}

// goOn uses what was found, and opens it again.
func (rec *recording) goOn(f *fs.FS, st *store.Store, h *memhost.Host) error {
	if err := f.WriteFile("/after the crash", []byte("still here"), 0o600); err != nil && !rec.small {
		return fmt.Errorf("go on: %w", err)
	}
	want, err := dumpTree(f)
	if err == nil {
		err = errors.Join(f.Close(), st.Close())
	}
	if err != nil {
		return fmt.Errorf("go on: %w", err)
	}
	if st, err = store.Open(bg, h, rec.options); err != nil {
		return fmt.Errorf("open after close: %w", err)
	}
	defer st.Close()
	if f, err = fs.Open(bg, st, rec.fs); err != nil {
		return fmt.Errorf("open after close: %w", err)
	}
	defer f.Close()
	got, err := dumpTree(f)
	if err != nil {
		return err
	}
	if diff := differ(want, got, true); diff != "" {
		return fmt.Errorf("after close: %s", diff)
	}
	return soundTree(f.Tree(), rec.small)
}

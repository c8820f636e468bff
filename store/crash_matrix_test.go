package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// maxOutcomes is up to how many outcomes of one crash all are tried. Of more, so
// many are sampled.
const maxOutcomes = 1 << 10

// TestA36_ReorderUnsynced tries all that one crash may leave: each change that was
// not synced is kept, dropped, torn at a sector, or shredded, in any combination
// with the others, whatever their order was.
func TestA36_ReorderUnsynced(t *testing.T) {
	seed, tried := newSeed(t), 0
	for run := uint64(0); tried < *crashCuts/4; run++ {
		tried += matrixRun(t, seed+run, *crashCuts/4-tried)
	}
	t.Logf("%d outcomes", tried)
}

// matrixRun records a short run and tries the outcomes of its cuts, so many at most.
func matrixRun(t *testing.T, seed uint64, most int) (tried int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 5))
	p := newPlan(r)
	p.capacity, p.steps, p.slots = store.MinCapacity, 12+r.IntN(20), min(p.slots, 4)
	rec := newRecorder(memhost.New(p.host), nil)
	if p.anchored {
		rec = newRecorder(rec.Host, &storetest.Anchor{})
	}
	h, err := p.record(rec, r)
	if err != nil {
		t.Fatalf("-seed %d: recording, after %q: %v", seed, rec.calls(), err)
	}
	rec.snap("nothing")
	snaps := rec.recorded()
	for range len(snaps) {
		c := cut{plan: p, history: h, snapshot: snaps[r.IntN(len(snaps))], seed: r.Uint64()}
		if !c.created {
			continue
		}
		n, err := c.outcomes(r)
		if tried += n; err != nil {
			t.Fatalf("-seed %d: before %s, after state %d..%d, %s: %v", seed, c.call, c.acked, c.started, c.fate, err)
		}
		if tried >= most {
			break
		}
	}
	return tried
}

// outcomes tries every outcome of one crash, or a sample of them.
func (c *cut) outcomes(r *rand.Rand) (tried int, err error) {
	pending := c.disk.Pending()
	all := 1
	for _, p := range pending {
		if all *= fatesOf(p); all > maxOutcomes {
			break
		}
	}
	for i := range min(all, maxOutcomes) {
		fates := make([]memhost.Fate, len(pending))
		for j, p := range pending {
			n := fatesOf(p)
			pick := i % n
			if i /= n; all > maxOutcomes {
				pick = r.IntN(n)
			}
			fates[j] = memhost.Keep + memhost.Fate(pick)
		}
		c.fate = fmt.Sprint(pending, fates)
		if err := c.outcome(fates, r.Uint64()); err != nil {
			return tried, err
		}
		tried++
	}
	return tried, nil
}

// fatesOf is how many fates a change has: only appends tear.
func fatesOf(p memhost.Pending) int {
	if p.Op == memhost.OpAppend {
		return 4
	}
	return 2
}

// outcome opens what one crash leaves, and looks at everything.
func (c *cut) outcome(fates []memhost.Fate, seed uint64) error {
	h := c.disk.Crash(memhost.CrashOptions{Seed: seed, Decide: func(i int, _ memhost.Pending) memhost.Fate { return fates[i] }})
	a := c.anchor
	if a != nil {
		a = a.Hold(func() {}) // a copy
	}
	s, err := c.open(h, a, false)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer s.Close()
	state, err := c.present(s)
	if err != nil {
		return err
	}
	if state < c.acked || state > c.started {
		return fmt.Errorf("state %d is found, want %d..%d", state, c.acked, c.started)
	}
	return checked(s, h)
}

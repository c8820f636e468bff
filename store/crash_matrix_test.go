package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// TestA36_ReorderUnsynced tries all that one crash may leave, for one crash after
// the other: each sector of each write that was not synced is there or not, and so
// is each segment that was made or deleted, whatever their order was. Where that is
// more than memhost.MaxOutcomes, a part of it.
func TestA36_ReorderUnsynced(t *testing.T) {
	seed := newSeed(t)
	var m matrix
	for run := uint64(0); m.outcomes < *crashCuts; run++ {
		m.run(t, seed+run, *crashCuts-m.outcomes)
	}
	t.Log(&m)
}

// matrix counts crashes, and outcomes of them, that were tried.
type matrix struct {
	cuts     [memhost.Everything + 1]int // by how much was tried of them
	outcomes int
}

func (m *matrix) String() string {
	return fmt.Sprintf("%d outcomes of %d cuts: all there are of %d, all tears of %d",
		m.outcomes, m.cuts[0]+m.cuts[1]+m.cuts[2], m.cuts[memhost.Everything], m.cuts[memhost.EveryTear])
}

// run records a short run and tries the outcomes of its cuts, in any order, until so
// many are tried.
func (m *matrix) run(t *testing.T, seed uint64, most int) {
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
	snaps := rec.end()
	for _, i := range r.Perm(len(snaps)) {
		c := cut{plan: p, history: h, snapshot: snaps[i], seed: r.Uint64()}
		c.options.NodeCacheBytes = 4 << 20
		if !c.created {
			continue
		}
		n, err := c.outcomes()
		if err != nil {
			t.Fatalf("-seed %d: cut %d, before %s, within %v, %s: %v", seed, i, c.call, c.bounds, c.fate, err)
		}
		m.cuts[memhost.Covered(c.disk.Pending())]++
		if m.outcomes += n; n > most {
			return
		}
		most -= n
	}
}

// outcomes tries the outcomes of one crash.
func (c *cut) outcomes() (tried int, err error) {
	pending := c.disk.Pending()
	for o := range memhost.Outcomes(pending, c.seed) {
		c.fate = fmt.Sprint(pending, o)
		if err := c.outcome(o, c.seed+uint64(tried)); err != nil {
			return tried, err
		}
		tried++
	}
	return tried, nil
}

// outcome opens what one crash leaves, and looks at everything.
func (c *cut) outcome(o memhost.Outcome, seed uint64) error {
	h := c.disk.Crash(memhost.CrashOptions{Seed: seed, Outcome: o})
	a := c.anchor
	if a != nil {
		a = a.Hold(func() {}) // a copy
	}
	s, err := c.open(h, a, false)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer s.Close()
	if _, err := c.look(s, c.bounds); err != nil {
		return err
	}
	return checked(s, h)
}

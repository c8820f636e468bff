package fs_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// TestModel does random things to a filesystem and to a simple model of one,
// and lets the machine die in a random host call, close and open again. After
// each death the filesystem must be what the model was after some number of
// operations, no fewer than the last Sync acknowledged; the check must find
// nothing wrong; and it goes on from there.
func TestModel(t *testing.T) {
	seed := newSeed(t)
	var s modelStats
	for i := range uint64(*modelRuns) {
		if err := s.run(seed + i); err != nil {
			t.Fatalf("-seed %d -model.runs 1: %v", seed+i, err)
		}
	}
	t.Logf("%d operations, %d of them without room, %d deaths, %d reopenings", s.operations, s.lacks, s.deaths, s.reopenings)
}

type modelStats struct{ operations, deaths, reopenings, lacks int }

// game is one volume that goes through several lives.
type game struct {
	stats   *modelStats
	r       *rand.Rand
	host    *memhost.Host
	options store.Options
	fs      fs.Options
	small   bool
	streams int
	m       *model // as it was when the present life began
	timed   bool   // with its times
	kept    []*keptState
	taken   int
}

func (s *modelStats) run(seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 0))
	g := &game{
		stats: s, r: r, m: newModel(),
		host:    memhost.New(memhost.Options{Spares: r.IntN(6), GrowingEnds: r.IntN(3) == 0}),
		options: store.Options{Unlocker: storetest.Unlocker("test")},
		fs:      fs.Options{CommitEvery: time.Hour, DirtyBytes: 4096 << r.IntN(11)},
	}
	capacity := int64(64 << 20)
	if r.IntN(2) == 0 {
		g.options.NodeCacheBytes, g.options.FrameCacheBytes = 1, 1+r.IntN(128<<10)
		g.options.CheckpointBytes = 16<<10 + r.IntN(256<<10)
	}
	if r.IntN(3) == 0 {
		capacity, g.small = 8<<20, true
	}
	err := store.Create(bg, g.host, store.CreateOptions{Capacity: capacity, Secret: storetest.Secret("test")})
	if err != nil {
		return err
	}
	if err := g.format(); err != nil {
		return err
	}
	if r.IntN(3) == 0 {
		g.streams = 1 + r.IntN(20)
	}
	for life := range 2 + r.IntN(4) {
		if err := g.life(); err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
	}
	return nil
}

func (g *game) format() error {
	st, err := store.Open(bg, g.host, g.options)
	if err != nil {
		return err
	}
	return errors.Join(fs.Format(bg, st, 0, 0), st.Close())
}

// life opens the volume, plays, and ends by a death or by closing.
func (g *game) life() error {
	st, err := store.Open(bg, g.host, g.options)
	if err != nil {
		return err
	}
	f, err := fs.Open(bg, st, g.fs)
	if err != nil {
		return err
	}
	timeless := 0
	if g.timed {
		timeless = 1
	}
	if err := g.verify(f, st, []*model{g.m}, timeless); err != nil {
		return fmt.Errorf("when opened: %w", err)
	}
	if g.r.IntN(3) > 0 {
		g.host.CutAt(g.host.Calls()+g.r.IntN(40), memhost.Cut(1+g.r.IntN(3)))
	}
	p := &player{r: g.r, f: f, m: g.m, full: g.small, streams: g.streams}
	if err := p.learn(); err != nil {
		return err
	}
	states, err := g.play(p)
	g.stats.lacks += p.lack
	if err == nil {
		if err = f.Close(); err == nil {
			states = states[len(states)-1:]
			err = st.Close()
		}
	}
	if errors.Is(err, memhost.ErrCrashed) || errors.Is(err, store.ErrReadOnly) {
		return g.resurrect(f, st, states)
	}
	if err != nil {
		return err
	}
	g.stats.reopenings++
	g.m, g.timed = p.m, true
	g.host.SetHook(nil)
	return nil
}

// learn takes the times of all files as they are.
func (p *player) learn() error {
	for n, path := range p.allPaths() {
		info, err := p.f.Lstat(path)
		if err != nil {
			return err
		}
		a := info.Sys().(fs.Attr)
		n.atime, n.mtime, n.ctime = nanos(a.Atime), nanos(a.Mtime), nanos(a.Ctime)
	}
	return nil
}

// play makes operations until an error. It returns the states since the last
// Sync that was acknowledged.
func (g *game) play(p *player) (states []*model, err error) {
	states = []*model{p.m.clone()}
	for range 20 + g.r.IntN(150) {
		if g.r.IntN(12) == 0 {
			p.what = "sync"
			if err := p.f.Sync(); err != nil {
				return states, err
			}
			states = states[len(states)-1:]
			continue
		}
		if g.r.IntN(20) == 0 {
			synced, err := g.keep(p)
			if err != nil {
				return states, err
			}
			if synced {
				states = states[len(states)-1:]
			}
			continue
		}
		err := p.step()
		if errors.Is(err, errModel) {
			return states, err
		}
		g.stats.operations++
		states = append(states, p.m.clone())
		if err != nil {
			return states, err
		}
	}
	return states, nil
}

// resurrect finds out what is left after a death.
func (g *game) resurrect(f *fs.FS, st *store.Store, states []*model) error {
	g.stats.deaths++
	g.timed = false // looking at what is left changes times
	_ = f.Close()   // it can't: but its goroutine ends
	_ = st.Close()
	g.host = g.host.Crash(memhost.CrashOptions{Seed: g.r.Uint64()})
	st, err := store.Open(bg, g.host, g.options)
	if err != nil {
		return fmt.Errorf("after death: %w", err)
	}
	if f, err = fs.Open(bg, st, g.fs); err != nil {
		return fmt.Errorf("after death: %w", err)
	}
	if err := g.verify(f, st, states, len(states)-1); err != nil {
		return fmt.Errorf("after death: %w", err)
	}
	return errors.Join(f.Close(), st.Close())
}

// verify finds the state that the filesystem is in, which becomes the game's,
// and checks everything. From state timeless on the times are not known.
func (g *game) verify(f *fs.FS, st *store.Store, states []*model, timeless int) error {
	got, err := dumpTree(f)
	if err != nil {
		return err
	}
	found, why := -1, ""
	for i := len(states) - 1; i >= 0 && found < 0; i-- {
		if diff := differ(states[i].dump(), got, i >= timeless); diff == "" {
			found = i
		} else {
			why += fmt.Sprintf("\nstate %d: %s", i, diff)
		}
	}
	if found < 0 {
		return fmt.Errorf("it is in none of the %d states it may be in:%s", len(states), why)
	}
	g.m = states[found]
	report, err := f.Tree().Check(bg, nil)
	if err != nil {
		return err
	}
	// What snapshots hold on to may leave no room to finish what was cut off.
	if len(report.Problems) > 0 || report.Orphans+report.Trims > 0 && (!g.small || len(g.kept) == 0) {
		return fmt.Errorf("check: %+v", report)
	}
	if err := g.verifyKept(f); err != nil {
		return err
	}
	_, err = st.Check(bg, nil)
	return err
}

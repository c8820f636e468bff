package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// stages are all that seals something, in an order in which they can be done.
var stages = []struct {
	name string
	do   func(n *nonces, s *store.Store, nth int) error
}{
	{"snapshot", func(_ *nonces, s *store.Store, _ int) error {
		_, err := s.TakeSnapshot(bg, "kept", nil)
		return err
	}},
	{"clean", func(_ *nonces, s *store.Store, _ int) error { return s.EmptyAll(bg) }},
	{"clone", func(n *nonces, s *store.Store, _ int) error { return n.clone(s) }},
	{"resize", func(_ *nonces, s *store.Store, nth int) error { return s.Resize(bg, int64(32+nth)<<20) }},
	{"add a key", func(_ *nonces, s *store.Store, nth int) error {
		return s.AddGeneration(bg, storetest.Secret(fmt.Sprint("next ", nth)))
	}},
	{"rekey", func(_ *nonces, s *store.Store, _ int) error { return s.Rekey(bg, store.RekeyOptions{}) }},
	{"drop the old key", func(_ *nonces, s *store.Store, _ int) error { return s.DropOldGenerations(bg) }},
	{"rewrap", func(_ *nonces, s *store.Store, nth int) error {
		return s.Rewrap(bg, storetest.Secret(fmt.Sprint("wrapped ", nth)))
	}},
	{"delete the snapshot", func(_ *nonces, s *store.Store, _ int) error {
		return errors.Join(s.DeleteSnapshot(bg, "kept"), s.ReapSnapshots(bg))
	}},
}

// clone copies the snapshot to a new volume, which is watched too.
func (n *nonces) clone(s *store.Store) error {
	p, err := s.FindSnapshot("kept")
	if err != nil {
		return err
	}
	to := n.watch(memhost.New(memhost.Options{}))
	err = store.Create(bg, to, store.CreateOptions{Capacity: 64 << 20, Secret: storetest.Secret("clone")})
	if err != nil {
		return err
	}
	c, err := store.Open(bg, to, store.Options{Unlocker: newestSlot{}})
	if err != nil {
		return err
	}
	return errors.Join(s.CloneSnapshot(bg, p.ID, c, nil), c.Close())
}

// stage opens a volume, does one thing, writes before and after it, and closes.
func (n *nonces) stage(v *vault, h host.Volume, nth, stage int) (err error) {
	if v.s, err = store.Open(bg, n.watch(h), store.Options{Unlocker: newestSlot{}}); err != nil {
		return err
	}
	write := func(off int) error {
		w := writer{history: v.history, s: v.s, keys: 20, slots: 4, r: newSeededRand(uint64(nth*1000 + off))}
		for range 3 {
			if err := errors.Join(w.randomItems(), w.randomData(), v.s.Commit(bg)); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.Join(write(0), stages[stage].do(n, v.s, nth), write(1), v.s.Close())
}

// recover takes the records of a volume away and has them found again.
func (n *nonces) recover(h *memhost.Host) error {
	for _, name := range h.RecordNames() {
		h.RemoveRecord(name)
	}
	rec, err := store.Recover(bg, h, store.RecoverOptions{Options: store.Options{Unlocker: newestSlot{}}})
	if err != nil {
		return err
	}
	w, err := n.watch(h).Acquire(bg, host.AcquireOptions{Takeover: true})
	if err != nil {
		return err
	}
	return errors.Join(rec.Install(bg, w), w.Release(bg))
}

// No nonce repeats where a snapshot is taken, cloned, deleted, where a volume is
// cleaned, made larger, re-keyed, rewrapped or recovered, and where the host has each
// of these done several times from one copy: in memory, in a directory, and in
// another process.
func TestA18_NoncesOfAllThatSeals(t *testing.T) {
	n, d := newNonces(), newServed(t)
	v := &vault{history: newHistory(), host: memhost.New(memhost.Options{Spares: 4})}
	storetest.Create(t, n.watch(v.host), 64<<20)
	for i, stage := range stages {
		before := v.host.Clone()
		for fork := range 4 {
			f := &vault{history: v.history.fork(v.last), host: before.Clone()}
			var h host.Volume = f.host
			switch {
			case fork >= 2:
				h = d.copyTo(t, f.host, hostKinds[fork-2])
			case fork == 1 && i > 0: // before the first stage there is no copy of a root
				if err := n.recover(f.host); err != nil {
					t.Fatalf("%s: recover: %v", stage.name, err)
				}
			}
			if err := n.stage(f, h, 10*i+fork, i); err != nil {
				t.Fatalf("%s, time %d: %v", stage.name, fork, err)
			}
		}
		if err := n.stage(v, v.host, 10*i+9, i); err != nil {
			t.Fatalf("%s: %v", stage.name, err)
		}
	}
	n.check(t)
}

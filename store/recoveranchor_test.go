package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// anchoredVolume is a volume with an anchor that counts in an item of its own.
type anchoredVolume struct {
	host   *memhost.Host
	anchor *storetest.Anchor
}

func (v anchoredVolume) options() store.Options {
	return store.Options{Unlocker: store.Secrets{oldSecret}, Anchor: v.anchor}
}

// count counts up in a session of its own.
func (v anchoredVolume) count(t *testing.T, from, to uint64) {
	t.Helper()
	s, err := store.Open(bg, v.host, v.options())
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < to; i++ {
		err := s.Update(bg, func(tx *store.Tx) error {
			e := make([]byte, 2000)
			e[0] = byte(i)
			return errors.Join(tx.Put(store.Key{Object: 7, Type: 1}, []byte{byte(i)}), tx.Put(store.Key{Object: 8, Type: 1, Sub: i}, e))
		})
		if err := errors.Join(err, s.Commit(bg)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// fork is a copy with an anchor that goes its own way.
func (v anchoredVolume) fork() (f anchoredVolume) {
	f.anchor = v.anchor.Hold(func() { f.host = v.host.Clone() })
	return f
}

// reads opens the volume and returns how far it had counted.
func (v anchoredVolume) reads(t *testing.T, o store.Options) byte {
	t.Helper()
	o.ReadOnly = true
	s, err := store.Open(bg, v.host, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Check(bg, nil); err != nil {
		t.Fatal(err)
	}
	var n byte
	err = s.View(bg, func(tx *store.Tx) error {
		b, ok, err := tx.Get(store.Key{Object: 7, Type: 1})
		if ok {
			n = b[0]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (v anchoredVolume) recover(o store.RecoverOptions) (store.Recovery, error) {
	loseRecords(v.host)
	rec, err := store.Recover(bg, v.host, o)
	if err == nil {
		for name, b := range rec.Records() {
			v.host.SetRecord(name, b)
		}
	}
	return rec, err
}

func countingVolume(t *testing.T) anchoredVolume {
	t.Helper()
	v := anchoredVolume{memhost.New(memhost.Options{}), &storetest.Anchor{}}
	if err := store.Create(bg, v.host, store.CreateOptions{Capacity: 16 << 20, Secret: oldSecret, Anchor: v.anchor}); err != nil {
		t.Fatal(err)
	}
	v.count(t, 1, 20)
	return v
}

// The anchor vouches for what is recovered, or it is refused, unless that is accepted.
func TestRecoverAnchored(t *testing.T) {
	v := countingVolume(t)
	old := v.fork()
	v.count(t, 20, 40)
	rec, err := v.recover(store.RecoverOptions{Options: v.options()})
	if err != nil || !rec.Summary.Anchored || rec.Summary.Verdict != nil || v.reads(t, v.options()) != 39 {
		t.Fatalf("%v, %+v", err, rec.Summary)
	}
	old.anchor = v.anchor
	if rec, err = old.recover(store.RecoverOptions{Options: old.options()}); !errors.Is(err, store.ErrRolledBack) {
		t.Errorf("an older copy: %v, %+v", err, rec.Summary)
	}
	detached := store.Options{Unlocker: store.Secrets{oldSecret}}
	if rec, err = old.recover(store.RecoverOptions{Options: detached}); !errors.Is(err, store.ErrAnchorMissing) {
		t.Errorf("none is configured: %v, %+v", err, rec.Summary)
	}
	detached.DetachAnchor = true
	if rec, err = old.recover(store.RecoverOptions{Options: detached}); err != nil || rec.Summary.Anchored {
		t.Errorf("it is let go: %v, %+v", err, rec.Summary)
	}
	rec, err = old.recover(store.RecoverOptions{Options: old.options(), AcceptRollback: true})
	if err != nil || rec.Summary.Anchored || !errors.Is(rec.Summary.Verdict, store.ErrRolledBack) {
		t.Fatalf("accepted: %v, %+v", err, rec.Summary)
	}
	// It was recovered, and does not open until that is approved.
	if _, err := store.Open(bg, old.host, old.options()); !errors.Is(err, store.ErrRolledBack) {
		t.Errorf("an older copy opens: %v", err)
	}
	if old.reads(t, detached) != 19 {
		t.Error("another state than the older one")
	}
	v.anchor.Forget()
	if _, err := v.recover(store.RecoverOptions{Options: v.options()}); !errors.Is(err, store.ErrAnchorLost) {
		t.Errorf("the anchor is empty: %v", err)
	}
	v.anchor.Fault = func(int) storetest.Fault { return storetest.FailBefore }
	if _, err := v.recover(store.RecoverOptions{Options: v.options()}); !errors.Is(err, store.ErrAnchorUnavailable) {
		t.Errorf("the anchor does not answer: %v", err)
	}
	if rec, err = v.recover(store.RecoverOptions{Options: v.options(), AcceptRollback: true}); err != nil || rec.Summary.Verdict == nil {
		t.Errorf("accepted: %v, %+v", err, rec.Summary)
	}
}

// Segments of a fork that lie beside a volume's own are never mixed with these: with
// an anchor the volume is recovered that the anchor knows, though the fork has newer
// roots; without one it is all of the one or of the other.
func TestRecoverFork(t *testing.T) {
	v := countingVolume(t)
	b := v.fork()
	v.count(t, 20, 40)
	for i := range uint64(4) { // with more roots
		b.count(t, 100+10*i, 110+10*i)
	}
	mixed := v.fork()
	taken := 0
	for _, id := range b.host.SegmentIDs() {
		if mixed.host.Segment(id) == nil {
			mixed.host.SetSegment(id, b.host.Segment(id))
			taken++
		}
	}
	if taken == 0 {
		t.Fatal("the fork has no segment of its own")
	}
	rec, err := mixed.recover(store.RecoverOptions{Options: mixed.options()})
	if err != nil || !rec.Summary.Anchored || len(rec.Summary.Newer) == 0 {
		t.Fatalf("%v, %+v", err, rec.Summary)
	}
	if got := mixed.reads(t, mixed.options()); got != 39 {
		t.Errorf("it counted to %d", got)
	}
	without := store.Options{Unlocker: store.Secrets{oldSecret}, DetachAnchor: true}
	if _, err := mixed.recover(store.RecoverOptions{Options: without}); err != nil {
		if !errors.Is(err, store.ErrDamaged) {
			t.Fatal(err)
		}
	} else if got := mixed.reads(t, without); got != 39 && got != 139 {
		t.Errorf("without an anchor it counted to %d", got)
	}
}

// Damage of nodes that a snapshot alone needs keeps nobody from the present state; it
// is told which snapshots are hurt. So with the list of them.
func TestRecoverSnapshotsHurt(t *testing.T) {
	intact := memhost.New(memhost.Options{})
	storetest.Create(t, intact, 16<<20)
	s := storetest.Open(t, intact)
	for _, name := range []string{"first", "second", "third"} {
		pad(t, s, true)
		if _, err := s.TakeSnapshot(bg, name, nil); err != nil {
			t.Fatal(err)
		}
		pad(t, s, false)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, intact, storetest.Secret("test"))
	defer s.Close()
	for name, c := range map[string]struct {
		at   store.Key
		hurt int
	}{
		"layer of the first":  {store.LayerKey(1, store.Key{Object: 1 << 40, Type: 9, Sub: 20}), 1},
		"layer of the second": {store.LayerKey(3, store.Key{Object: 1 << 40, Type: 9, Sub: 20}), 3},
		"list":                {store.SnapshotKey(1), -1},
	} {
		h := intact.Clone()
		spoilLeaf(t, s, h, c.at)
		rec, err := recoverWith(loseRecords(h), storetest.Secret("test"))
		if err != nil || rec.Summary.SnapshotNodes != 1 || rec.Summary.Damaged != 0 {
			t.Errorf("%s: %v, %+v", name, err, rec.Summary)
			continue
		}
		if lost := rec.Summary.ListLost; (lost != nil) != (c.hurt < 0) || c.hurt >= 0 && len(rec.Summary.Hurt) != c.hurt {
			t.Errorf("%s: %+v", name, rec.Summary)
		}
		for name, b := range rec.Records() {
			h.SetRecord(name, b)
		}
		again, err := store.Open(bg, h, store.Options{Unlocker: storetest.Unlocker("test"), ReadOnly: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again.Close()
	}
}

// If the machine dies while a root is being made, nodes that snapshots alone need may
// not have been written: an older root that leads to the same state has them still.
func TestRecoverSnapshotsNotWritten(t *testing.T) {
	h := memhost.New(memhost.Options{})
	storetest.Create(t, h, 16<<20)
	rec := newRecorder(h, nil)
	s, err := store.Open(bg, rec, store.Options{Unlocker: storetest.Unlocker("test")})
	if err != nil {
		t.Fatal(err)
	}
	pad(t, s, true)
	if _, err := s.TakeSnapshot(bg, "kept", nil); err != nil {
		t.Fatal(err)
	}
	pad(t, s, false)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	swaps := slices.DeleteFunc(rec.recorded(), func(s snapshot) bool { return !strings.HasPrefix(s.call, "swap") })
	before := loseRecords(swaps[len(swaps)-1].disk.Clone())
	newest := mustRecover(t, before.Clone(), storetest.Secret("test"))
	s = mustOpen(t, h, storetest.Secret("test"))
	defer s.Close()
	spoilLeaf(t, s, before, store.SnapshotKey(1))
	found := mustRecover(t, before, storetest.Secret("test")).Summary
	if found.RootSequence >= newest.Summary.RootSequence || found.SnapshotNodes != 0 || found.ListLost != nil {
		t.Errorf("newest %d, recovered %+v", newest.Summary.RootSequence, found)
	}
}

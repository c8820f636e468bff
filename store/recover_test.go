package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/storetest"
)

// loseRecords is what a lost catalog takes away.
func loseRecords(h *memhost.Host) *memhost.Host {
	for _, name := range h.RecordNames() {
		h.RemoveRecord(name)
	}
	return h
}

func recoverWith(h *memhost.Host, secrets ...store.Secret) (store.Recovery, error) {
	return store.Recover(bg, h, store.RecoverOptions{Options: store.Options{Unlocker: store.Secrets(secrets)}})
}

// mustRecover recovers the records and puts them on the host.
func mustRecover(t *testing.T, h *memhost.Host, secrets ...store.Secret) store.Recovery {
	t.Helper()
	rec, err := recoverWith(h, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	w, err := h.Acquire(bg, host.AcquireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(rec.Install(bg, w), w.Release(bg)); err != nil {
		t.Fatal(err)
	}
	return rec
}

func wantFiles(t *testing.T, s *store.Store, f *files) {
	t.Helper()
	if err := f.check(s); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(bg, nil); err != nil {
		t.Fatal(err)
	}
}

func TestRecoverClosed(t *testing.T) {
	h, f := aged(t, newRand(t), 16<<20, 200)
	root := h.Record("root")
	for name, spoil := range map[string]func(h *memhost.Host){
		"lost":    func(h *memhost.Host) { loseRecords(h) },
		"zeroed":  func(h *memhost.Host) { h.SetRecord("root", make([]byte, len(root))); h.RemoveRecord("header") },
		"cut":     func(h *memhost.Host) { h.SetRecord("root", root[:100]) },
		"header":  func(h *memhost.Host) { h.RemoveRecord("header") },
		"garbage": func(h *memhost.Host) { h.SetRecord("header", pool[:500]); h.SetRecord("root", pool[:900]) },
		"intact":  func(*memhost.Host) {},
	} {
		h := h.Clone()
		spoil(h)
		rec := mustRecover(t, h, oldSecret)
		if !bytes.Equal(rec.Root, root) {
			t.Errorf("%s: another root than the newest: %+v", name, rec.Summary)
		}
		if len(rec.Summary.Newer)+len(rec.Summary.Missing) > 0 {
			t.Errorf("%s: %+v", name, rec.Summary)
		}
		s := mustOpen(t, h, oldSecret)
		wantFiles(t, s, f)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The header that is made is newer than all that were, so that none of these comes
// back.
func TestRecoverRefusesOldHeader(t *testing.T) {
	h, _ := aged(t, newRand(t), 16<<20, 20)
	header := h.Record("header")
	mustRecover(t, loseRecords(h), oldSecret)
	s := mustOpen(t, h, oldSecret)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	h.SetRecord("header", header)
	if _, err := openWith(h, oldSecret); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("the header of before opens: %v", err)
	}
}

func TestRecoverWrongKey(t *testing.T) {
	h, _ := aged(t, newRand(t), 16<<20, 20)
	if _, err := recoverWith(loseRecords(h), newSecret); !errors.Is(err, store.ErrWrongKey) {
		t.Error(err)
	}
	if _, err := recoverWith(memhost.New(memhost.Options{}), oldSecret); !errors.Is(err, store.ErrNoVolume) {
		t.Error(err)
	}
}

// In the middle of a migration the new key recovers the volume, and goes on with
// it; the old key does not, and neither does it after the migration.
func TestRecoverBetweenKeys(t *testing.T) {
	h, f := aged(t, newRand(t), 16<<20, 200)
	s := mustOpen(t, h, oldSecret)
	if err := s.AddGeneration(bg, newSecret); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := recoverWith(loseRecords(h.Clone()), oldSecret); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("the old key recovers the volume: %v", err)
	}
	mustRecover(t, loseRecords(h), newSecret)
	s = mustOpen(t, h, newSecret)
	wantFiles(t, s, f)
	if err := errors.Join(s.Rekey(bg, store.RekeyOptions{}), s.DropOldGenerations(bg)); err != nil {
		t.Fatal(err)
	}
	crashed := h.Clone().Crash(memhost.CrashOptions{Decide: memhost.DropAll})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, h := range []*memhost.Host{h, crashed} {
		mustRecover(t, loseRecords(h), newSecret)
		s = mustOpen(t, h, newSecret)
		wantFiles(t, s, f)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// After a rewrap the old slot, which is in preambles still, recovers nothing.
func TestRecoverAfterRewrap(t *testing.T) {
	h, f := aged(t, newRand(t), 16<<20, 100)
	s := mustOpen(t, h, oldSecret)
	if err := s.Rewrap(bg, newSecret); err != nil {
		t.Fatal(err)
	}
	h = h.Clone()
	if _, err := recoverWith(loseRecords(h), oldSecret); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("the old key recovers the volume: %v", err)
	}
	mustRecover(t, h, newSecret)
	again := mustOpen(t, h, newSecret)
	defer again.Close()
	wantFiles(t, again, f)
	s.Close()
}

// What a host adds of earlier times changes nothing; what it takes away shows if
// anything later is left, and is a rollback that only an anchor refuses if not.
func TestRecoverRollback(t *testing.T) {
	h, f := aged(t, newRand(t), 16<<20, 100)
	old := h.Clone()
	s := mustOpen(t, h, oldSecret)
	for range 100 {
		if err := f.step(s, 8); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	root := h.Record("root")
	with := loseRecords(h.Clone())
	for _, id := range old.SegmentIDs() {
		if with.Segment(id) == nil {
			with.SetSegment(id, old.Segment(id))
		}
	}
	for name, value := range map[string][]byte{"root": old.Record("root"), "header": old.Record("header")} {
		with.SetRecord(name, value)
	}
	rec := mustRecover(t, with, oldSecret)
	if !bytes.Equal(rec.Root, root) {
		t.Errorf("segments and records of before lead to root %d", rec.Summary.RootSequence)
	}
	again := mustOpen(t, with, oldSecret)
	wantFiles(t, again, f)
	again.Close()
	if rec := mustRecover(t, loseRecords(old), oldSecret); rec.Summary.RootSequence == 0 {
		t.Error("nothing is recovered of the older copy")
	}
}

// spoilRoot zeroes n bytes that end gap bytes before the newest root that lies
// behind a checkpoint: the page of the table, and before that a node.
func spoilRoot(h *memhost.Host, gap, n int) {
	var id host.SegmentID
	var at int
	var newest uint64
	for _, i := range h.SegmentIDs() {
		b := h.Segment(i)
		last := bytes.LastIndex(b, []byte("coffroot"))
		if b[10] != byte(seal.KindNode) || last < 0 {
			continue
		}
		if q := binary.BigEndian.Uint64(b[last+32:]); q >= newest {
			id, at, newest = i, last-gap, q
		}
	}
	b := h.Segment(id)
	clear(b[at-n : at])
	h.SetSegment(id, b)
}

// If the newest root is not whole, an older one stands in whose log leads to the
// same state, as it does when the machine dies while a root is being made. One
// that does not is to be asked for.
func TestRecoverNotWhole(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	rec := newRecorder(v.host, nil)
	var err error
	if v.s, err = store.Open(bg, rec, store.Options{Unlocker: storetest.Unlocker("test")}); err != nil {
		t.Fatal(err)
	}
	v.put(t, 50, content{100, 700})
	v.close(t)
	swaps := slices.DeleteFunc(rec.recorded(), func(s snapshot) bool { return !strings.HasPrefix(s.call, "swap") })
	before, after := loseRecords(swaps[len(swaps)-1].disk.Clone()), loseRecords(v.host)
	newest, err := recoverWith(before, oldSecret)
	if err != nil {
		t.Fatal(err)
	}
	spoilRoot(before, 0, 512)
	if rec := mustRecover(t, before, oldSecret); rec.Summary.RootSequence >= newest.Summary.RootSequence {
		t.Errorf("root %d is not whole", rec.Summary.RootSequence)
	}
	if f := v.both(t, before); f.harmed() || f.state != v.last {
		t.Errorf("%+v", f)
	}
	asked := after.Clone()
	spoilRoot(after, 0, 512)
	if rec, err := recoverWith(after, oldSecret); !errors.Is(err, store.ErrDamaged) {
		t.Fatalf("%v, %+v", err, rec.Summary)
	}
	spoilRoot(asked, 522, 16)
	if rec, err := recoverWith(asked, oldSecret); !errors.Is(err, store.ErrDamaged) {
		t.Fatalf("%v, %+v", err, rec.Summary)
	}
	older, err := store.Recover(bg, after, store.RecoverOptions{
		Options: store.Options{Unlocker: store.Secrets{oldSecret}}, Root: newest.Summary.RootSequence + 9,
	})
	if !errors.Is(err, store.ErrNoRoot) {
		t.Errorf("a root that is not there: %v, %+v", err, older.Summary)
	}
}

// Two volumes of one key in one place are not mixed.
func TestRecoverTwoVolumes(t *testing.T) {
	h, f := aged(t, newRand(t), 16<<20, 50)
	other, _ := aged(t, newRand(t), 16<<20, 50)
	n := host.SegmentID(1)
	for _, id := range other.SegmentIDs() {
		for ; h.Segment(n) != nil; n++ {
		}
		b := other.Segment(id)
		for i := range 8 {
			b[28+i] = byte(uint64(n) >> (56 - 8*i)) // as it would have to say
		}
		h.SetSegment(n, b)
	}
	uuid := [16]byte(h.Record("header")[12:28])
	loseRecords(h)
	if _, err := recoverWith(h, oldSecret); !errors.Is(err, store.ErrAmbiguous) {
		t.Fatal(err)
	}
	rec, err := store.Recover(bg, h, store.RecoverOptions{Options: store.Options{Unlocker: store.Secrets{oldSecret}}, Volume: uuid})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range rec.Records() {
		h.SetRecord(name, value)
	}
	s := mustOpen(t, h, oldSecret)
	defer s.Close()
	wantFiles(t, s, f)
}

// A log that is damaged before batches that were durable is no reason to go back to the
// end of the session before: that would lose them without a word.
func TestRecoverDamagedLog(t *testing.T) {
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, 16<<20)
	s := storetest.Open(t, v)
	put := func(i byte) {
		t.Helper()
		err := s.Update(bg, func(tx *store.Tx) error { return tx.Put(store.Key{Object: 7, Type: 1}, []byte{i}) })
		if err := errors.Join(err, s.Commit(bg)); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, v)
	for i := range byte(4) {
		put(2 + i)
	}
	h := v.Clone()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	log := slices.Max(h.SegmentIDs())
	for len(h.Segment(log)) <= seal.PreambleSize || h.Segment(log)[10] != byte(seal.KindLog) {
		log--
	}
	at := int64(len(h.Segment(log)) - 4*seal.SectorSize) // the first of the four
	whole := h.Clone()
	rec, err := recoverWith(loseRecords(whole), storetest.Secret("test"))
	if err != nil || rec.Summary.Batches != 4 {
		t.Fatalf("%v, %+v", err, rec.Summary)
	}
	for batch := range int64(3) {
		spoilt := h.Clone()
		spoilt.FlipBit(log, at+batch*seal.SectorSize+20, 1)
		if rec, err := recoverWith(loseRecords(spoilt), storetest.Secret("test")); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("batch %d is damaged: %v, %+v", batch, err, rec.Summary)
		}
		w, err := store.OpenWreck(bg, spoilt, store.SalvageOptions{Options: store.Options{Unlocker: storetest.Unlocker("test")}})
		if err != nil {
			t.Fatal(err)
		}
		if w.Summary().LogLost == "" {
			t.Errorf("batch %d is damaged, and it is not told: %+v", batch, w.Summary())
		}
		w.Close()
	}
}

package store_test

import (
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/store"
)

// Each segment, and the root, alone from an earlier time.
func TestA09_RollBackPart(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	older := v.fork()
	v.open(t)
	for i := range uint64(4) {
		v.drop(t, i+10, 700)
		v.put(t, i+30, content{int(i) * 500, 700})
	}
	v.close(t)
	for _, id := range older.host.SegmentIDs() {
		h := v.host.Clone()
		h.SetSegment(id, older.host.Segment(id))
		if f := v.both(t, h); f.opened == nil && f.state != v.last {
			t.Errorf("segment %d of an earlier time leads to state %d", id, f.state)
		}
	}
	h := v.host.Clone()
	h.SetRecord("root", older.host.Record("root"))
	if f := v.both(t, h); !f.harmed() && f.state != older.last {
		t.Errorf("a root of an earlier time leads to state %d", f.state)
	}
}

// The data of a deleted object does not come back with its segment.
func TestA12_ResurrectDeleted(t *testing.T) {
	v, at := filled(t)
	v.close(t)
	before := v.fork()
	v.open(t)
	for i := range uint64(4) {
		v.drop(t, i+10, 700)
	}
	v.close(t)
	v.open(t)
	v.close(t)
	id := at[10].Segment
	if v.host.Segment(id) != nil {
		t.Fatalf("segment %d is still there", id)
	}
	v.host.SetSegment(id, before.host.Segment(id))
	if f := v.both(t, v.host); f.harmed() || f.state != v.last {
		t.Errorf("%+v", f)
	}
	v.open(t)
	if v.host.Segment(id) != nil {
		t.Error("the segment that was brought back was not deleted")
	}
	v.close(t)
}

func TestA13_Delete(t *testing.T) {
	v, at := filled(t)
	open := v.fork()
	open.host = v.crash().host
	v.host = open.host.Clone()
	v.open(t)
	v.close(t)
	for _, id := range v.host.SegmentIDs() {
		h := v.host.Clone()
		h.RemoveSegment(id)
		f := v.both(t, h)
		if id == at[10].Segment {
			f.wantDamage(t, 10, 11, 12, 13)
		}
	}
	for _, name := range v.host.RecordNames() {
		h := v.host.Clone()
		h.RemoveRecord(name)
		if f := v.both(t, h); f.opened == nil {
			t.Errorf("without record %q the volume opens", name)
		}
	}
	// Without the log that follows the root, an open volume is damaged.
	h := open.host.Clone()
	h.RemoveSegment(at[10].Segment)
	if f := v.both(t, h); !errors.Is(f.opened, store.ErrDamaged) {
		t.Errorf("without its log: %+v", f)
	}
}

// Without an anchor nothing outside the host remembers the newest state: an
// older one, whole, opens. This is what promise 6 is about, and all that the
// host can do: what opens is a state that once was.
func TestA14_RollBackAll(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	older := v.fork()
	v.open(t)
	v.put(t, 50, content{0, 700})
	v.close(t)
	if f := older.both(t, older.host); f.harmed() || f.state != older.last {
		t.Errorf("the older volume: %+v", f)
	}
}

// Without an anchor the last commit can be cut off: it looks like a crash before
// it. Only what is behind every later sync can be lost in this way.
func TestA15_SuppressTail(t *testing.T) {
	v, _ := filled(t)
	e := v.put(t, 50, content{0, 700})
	v.commit(t)
	cut := v.crash()
	size := len(cut.host.Segment(e.Segment))
	cut.host.SetSegment(e.Segment, cut.host.Segment(e.Segment)[:size-512])
	if f := cut.both(t, cut.host); f.harmed() || f.state != v.last-1 {
		t.Errorf("without the last batch: %+v, want state %d", f, v.last-1)
	}
}

// Without an anchor two copies can both be opened and written. Each stays a
// sound volume of its own.
func TestA16_Fork(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	a, b := v.fork(), v.fork()
	for i, f := range []*vault{a, b} {
		f.open(t)
		f.put(t, 50, content{i * 5000, 700})
		f.close(t)
		if found := f.both(t, f.host); found.harmed() || found.state != f.last {
			t.Errorf("fork %d: %+v", i, found)
		}
	}
}

// What one fork wrote is worth nothing in the other, although the numbers of the
// segments and the places in them are the same.
func TestA17_SpliceForks(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	a, b := v.fork(), v.fork()
	for i, f := range []*vault{a, b} {
		f.open(t)
		f.put(t, 50, content{i * 5000, 700})
		f.commit(t)
		f.host = f.crash().host // not closed: the log counts as well
	}
	spliced := 0
	for _, id := range a.host.SegmentIDs() {
		if b.host.Segment(id) == nil || string(a.host.Segment(id)) == string(b.host.Segment(id)) {
			continue
		}
		spliced++
		h := b.host.Clone()
		h.SetSegment(id, a.host.Segment(id))
		if f := b.both(t, h); f.opened == nil && f.state == b.last {
			t.Errorf("segment %d of the other fork: %+v", id, f)
		}
		h = b.host.Clone() // behind its own preamble
		h.Overwrite(id, 4096, a.host.Segment(id)[4096:])
		if f := b.both(t, h); f.opened == nil && f.state == b.last {
			t.Errorf("frames of segment %d of the other fork: %+v", id, f)
		}
	}
	if spliced == 0 {
		t.Error("the forks have no segment in common")
	}
	h := b.host.Clone()
	h.SetRecord("root", a.host.Record("root"))
	b.both(t, h)
}

// After the key was changed, the header of before opens nothing of what there is
// now, with neither key; and with the root of before it leads to nothing new.
func TestA26_RollBackHeader(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	before := v.fork()
	v.s = mustOpen(t, v.host, oldSecret, newSecret)
	if err := rekey(v.s); err != nil {
		t.Fatal(err)
	}
	v.s.Close()
	v.s = mustOpen(t, v.host, newSecret)
	v.put(t, 50, content{0, 700})
	v.s.Close()
	for _, records := range [][]string{{"header"}, {"root"}, {"header", "root"}} {
		h := v.host.Clone()
		for _, name := range records {
			h.SetRecord(name, before.host.Record(name))
		}
		for _, secret := range []store.Secret{oldSecret, newSecret} {
			s, err := openWith(h.Clone(), secret)
			if err != nil {
				typed(t, err)
				continue
			}
			for k := range v.items {
				if err := v.readOne(s, k, before.last); err != nil {
					typed(t, err)
				}
			}
			s.Close()
			if len(records) == 1 {
				t.Errorf("%v of before: the volume opens", records)
			}
		}
	}
	if _, err := openWith(v.host.Clone(), oldSecret); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("the old key: %v", err)
	}
}

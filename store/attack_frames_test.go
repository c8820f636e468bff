package store_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
)

// So many flips are made in memory for one that is made on the other hosts too:
// primes, so that each kind of frame is hit.
const (
	elsewhereEach = 1009
	elsewhereSome = 307 // where there are fewer
)

// Every byte of every record and segment of a closed volume, and every bit of
// its header and its root.
func TestA01_BitFlip(t *testing.T) {
	v, at := filled(t)
	v.close(t)
	for _, name := range v.host.RecordNames() {
		b := v.host.Record(name)
		for i := range len(b) * 8 {
			flipped := bytes.Clone(b)
			flipped[i/8] ^= 1 << (i % 8)
			h := v.host.Clone()
			h.SetRecord(name, flipped)
			if f := v.survey(t, h, true); f.opened == nil {
				t.Fatalf("bit %d of record %q flipped: the volume opens", i, name)
			}
		}
	}
	for _, id := range v.host.SegmentIDs() {
		for off := range len(v.host.Segment(id)) {
			h := v.host.Clone()
			h.FlipBit(id, int64(off), uint(off*5))
			f := v.survey(t, h, off%16 != 0)
			if off%elsewhereEach == 0 {
				v.elsewhere(t, h, off%16 != 0, f)
			}
			for object, e := range at {
				if f.opened == nil && e.Segment == id && int64(off) >= int64(e.Offset) && int64(off) < int64(e.Offset)+700+16 {
					f.wantDamage(t, object)
				}
			}
			if t.Failed() {
				t.Fatalf("segment %d, offset %d", id, off)
			}
		}
	}
}

// A volume that was not closed: all of the log, in two segments.
func TestA01_BitFlipInTheLog(t *testing.T) {
	v, at := filled(t)
	for i := uint64(100); v.put(t, i, content{0, store.MaxFrame}).Segment == at[10].Segment; i++ { // fill it
		v.commit(t)
	}
	v.commit(t)
	v.put(t, 200, content{0, 300})
	v.commit(t)
	cut := v.crash()
	r := rand.New(rand.NewPCG(newSeed(t), 4))
	refused, older, flips := 0, 0, 0
	v.served = newServed(t)
	flip := func(id host.SegmentID, off int) survey {
		h := cut.host.Clone()
		h.FlipBit(id, int64(off), r.UintN(8))
		f := v.survey(t, h, true)
		if flips++; flips%elsewhereSome == 0 {
			v.elsewhere(t, h, true, f)
		}
		switch {
		case f.opened != nil:
			refused++
		case f.state < v.last:
			// Nothing vouches for the last batch yet: this may be a crash (A15).
			older++
			if f.state < v.last-1 {
				t.Fatalf("segment %d, offset %d: opens to state %d of %d", id, off, f.state, v.last)
			}
		}
		return f
	}
	for _, id := range cut.host.SegmentIDs() {
		for off, size := 0, len(cut.host.Segment(id)); off < size; off += 1 + r.IntN(1+size/100) {
			flip(id, off)
		}
	}
	if refused == 0 {
		t.Error("no flip was refused")
	}
	// The batch that ends the first segment of the log.
	end := len(cut.host.Segment(at[10].Segment))
	for off := end - 512; off < end-512+174; off++ {
		if f := flip(at[10].Segment, off); !errors.Is(f.opened, store.ErrDamaged) {
			t.Fatalf("offset %d of the batch that ends a segment: %+v", off-end+512, f)
		}
	}
	// The last batch of all.
	last := slices.Max(cut.host.SegmentIDs())
	for older = 0; len(cut.host.Segment(last)) <= 4096; last-- {
	}
	for off := len(cut.host.Segment(last)) - 1024; off < len(cut.host.Segment(last)); off++ {
		flip(last, off)
	}
	if older == 0 {
		t.Error("no flip of the last batch led to the state before")
	}
}

func TestA02_SwapFramesOfOneObject(t *testing.T) {
	v := newVault(t)
	c := content{0, 700}
	f := v.s.NewFlush()
	var es []store.Extent
	var edits []edit
	for i := range 2 {
		c.off = i * 700
		e, err := f.Seal(bg, 10, uint64(c.off), c.bytes())
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, e[0])
		edits = append(edits, edit{dataKey(10, c.off+700), true, c, e[0]})
	}
	if err := v.update(v.s, edits, false); err != nil {
		t.Fatal(err)
	}
	f.Close()
	v.close(t)
	a, b := sealedBytes(v, es[0]), sealedBytes(v, es[1])
	v.host.Overwrite(es[0].Segment, int64(es[0].Offset), b)
	v.host.Overwrite(es[1].Segment, int64(es[1].Offset), a)
	found := v.both(t, v.host)
	if found.opened != nil || len(found.damaged) != 2 {
		t.Errorf("%+v", found)
	}
}

func TestA03_MoveFrameToAnotherObject(t *testing.T) {
	v, at := filled(t)
	v.close(t)
	v.host.Overwrite(at[11].Segment, int64(at[11].Offset), sealedBytes(v, at[10]))
	v.both(t, v.host).wantDamage(t, 11)
}

// An older frame at the same place of the same segment: the host puts back what
// a run before a rollback wrote there.
func TestA04_ReplayFrameAtItsPlace(t *testing.T) {
	v := newVault(t)
	v.close(t)
	first, second := v.fork(), v.fork()
	first.open(t)
	second.open(t)
	a := first.put(t, 10, content{0, 700})
	b := second.put(t, 10, content{5000, 700})
	if a != b {
		t.Fatalf("the runs differ: %+v, %+v", a, b)
	}
	first.close(t)
	second.close(t)
	second.host.Overwrite(b.Segment, int64(b.Offset), sealedBytes(first, a))
	second.both(t, second.host).wantDamage(t, 10)
}

func TestA05_ZeroFrame(t *testing.T) {
	v, at := filled(t)
	v.close(t)
	v.host.Overwrite(at[12].Segment, int64(at[12].Offset), make([]byte, 700+16))
	v.both(t, v.host).wantDamage(t, 12)
	for _, id := range v.host.SegmentIDs() {
		h := v.host.Clone()
		h.Overwrite(id, 0, make([]byte, len(v.host.Segment(id))))
		v.both(t, h)
	}
	for _, name := range v.host.RecordNames() {
		h := v.host.Clone()
		h.SetRecord(name, make([]byte, len(v.host.Record(name))))
		if f := v.both(t, h); f.opened == nil {
			t.Errorf("record %q zeroed: the volume opens", name)
		}
	}
}

func TestA06_Truncate(t *testing.T) {
	v, at := filled(t)
	v.close(t)
	for _, id := range v.host.SegmentIDs() {
		b := v.host.Segment(id)
		for size := range b {
			h := v.host.Clone()
			h.SetSegment(id, b[:size])
			f := v.survey(t, h, true)
			if size%elsewhereEach == 0 {
				v.elsewhere(t, h, true, f)
			}
			for object, e := range at {
				if f.opened == nil && !f.damaged[stateKey] && e.Segment == id && f.damaged[dataKey(object, 700)] != (e.Offset+700+16 > uint32(size)) {
					t.Fatalf("segment %d cut to %d bytes, object %d at %d: damaged: %v", id, size, object, e.Offset, f.damaged)
				}
			}
		}
	}
	for _, name := range v.host.RecordNames() {
		b := v.host.Record(name)
		for size := range b {
			h := v.host.Clone()
			h.SetRecord(name, b[:size])
			f := v.survey(t, h, true)
			if f.opened == nil {
				t.Fatalf("record %q cut to %d bytes: the volume opens", name, size)
			}
			if size%elsewhereSome == 0 {
				v.elsewhere(t, h, true, f)
			}
		}
	}
}

func TestA07_AppendJunk(t *testing.T) {
	closed, _ := filled(t)
	closed.close(t)
	open, _ := filled(t)
	for _, v := range []*vault{closed, open.crash()} {
		for _, id := range v.host.SegmentIDs() {
			b := v.host.Segment(id)
			for _, n := range []int{1, 512, 100000} {
				h := v.host.Clone()
				h.SetSegment(id, append(bytes.Clone(b), pool[:n]...))
				if f := v.both(t, h); f.harmed() || f.state != v.last {
					t.Errorf("%d bytes behind segment %d: %+v", n, id, f)
				}
			}
		}
	}
	for _, name := range closed.host.RecordNames() {
		h := closed.host.Clone()
		h.SetRecord(name, append(closed.host.Record(name), 0))
		if f := closed.both(t, h); f.opened == nil {
			t.Errorf("a byte behind record %q: the volume opens", name)
		}
	}
}

func TestA08_SwapSegments(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	ids := v.host.SegmentIDs()
	for i, a := range ids {
		for _, b := range ids[:i] {
			h := v.host.Clone()
			x, y := h.Segment(a), h.Segment(b)
			h.SetSegment(a, y)
			h.SetSegment(b, x)
			v.both(t, h)
		}
	}
	h := v.host.Clone()
	h.SetRecord("header", v.host.Record("root"))
	h.SetRecord("root", v.host.Record("header"))
	if f := v.both(t, h); f.opened == nil {
		t.Error("header and root exchanged: the volume opens")
	}
}

// Records and segments of junk, in any mixture.
func TestA44_Malformed(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	r := rand.New(rand.NewPCG(newSeed(t), 6))
	spoil := func(b []byte) []byte {
		b = bytes.Clone(b)
		for range 1 + r.IntN(8) {
			if len(b) == 0 {
				return b
			}
			at := r.IntN(len(b))
			switch r.IntN(4) {
			case 0:
				b[at] = byte(r.Uint32())
			case 1:
				copy(b[at:], bytes.Repeat([]byte{0xff}, 1+r.IntN(8)))
			case 2:
				b = b[:at]
			default:
				copy(b[at:], pool[r.IntN(1000):][:r.IntN(100)])
			}
		}
		return b
	}
	for i := range 2000 {
		h := v.host.Clone()
		for _, name := range h.RecordNames() {
			if r.IntN(3) == 0 {
				h.SetRecord(name, spoil(h.Record(name)))
			}
		}
		for _, id := range h.SegmentIDs() {
			if r.IntN(3) == 0 {
				h.SetSegment(id, spoil(h.Segment(id)))
			}
		}
		readOnly := r.IntN(4) > 0
		before := h.Clone()
		f := v.survey(t, h, readOnly)
		if i%elsewhereSome == 0 {
			v.elsewhere(t, before, readOnly, f)
		}
	}
}

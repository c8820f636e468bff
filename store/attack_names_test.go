package store_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"regexp"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// Nodes of the map as they were before entries changed, in the places of those of
// now, and in their segments.
func TestA10_RollBackDirectory(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	older := v.fork()
	v.open(t)
	for i := range uint64(5) {
		e := edit{key: store.Key{Object: 20 + i, Type: 1}, here: true, content: content{300 + int(i), 30}}
		if err := v.update(v.s, []edit{e}, false); err != nil {
			t.Fatal(err)
		}
	}
	v.close(t)
	tried := 0
	for _, was := range nodeSegments(t, older) {
		for _, is := range nodeSegments(t, v) {
			h := v.host.Clone()
			h.SetSegment(is, older.host.Segment(was))
			if f := v.both(t, h); f.opened == nil && f.state != v.last {
				t.Errorf("segment %d of before as %d leads to state %d", was, is, f.state)
			}
			h = v.host.Clone() // behind its own preamble
			h.Overwrite(is, seal.PreambleSize, older.host.Segment(was)[seal.PreambleSize:])
			if f := v.both(t, h); f.opened == nil && f.state != v.last {
				t.Errorf("nodes of segment %d of before in %d lead to state %d", was, is, f.state)
			}
			tried++
		}
	}
	if tried == 0 {
		t.Error("there are no nodes")
	}
}

func nodeSegments(t *testing.T, v *vault) (ids []host.SegmentID) {
	t.Helper()
	for _, id := range v.host.SegmentIDs() {
		p, err := seal.ParsePreamble(v.host.Segment(id))
		if err != nil {
			t.Fatal(err)
		}
		if p.Kind == seal.KindNode {
			ids = append(ids, id)
		}
	}
	return ids
}

// What says who a segment is, and thereby which key it has, is its preamble only
// for whoever has lost the root: claims of the host change nothing.
func TestA11_PoisonIdentity(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	ids := v.host.SegmentIDs()
	for _, a := range ids {
		for _, b := range ids {
			h := v.host.Clone()
			h.Overwrite(a, 0, v.host.Segment(b)[:seal.PreambleSize])
			if f := v.both(t, h); f.harmed() || f.state != v.last {
				t.Errorf("segment %d says that it is %d: %+v", a, b, f)
			}
		}
	}
}

// Every byte that is reserved, and every bit that could say that a volume needs
// less checking or another kind of recovery.
func TestA23_FlipFlags(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	for _, flag := range []struct {
		record string
		offset int
	}{
		{"header", 40}, {"header", 41}, {"header", 42}, {"header", 43}, {"header", 44}, {"header", 45}, // counts, kind, reserved
		{"root", 11}, {"root", 76 + 24}, // reserved; the sealed byte that says that no batch follows
	} {
		for value := range 256 {
			h := v.host.Clone()
			b := h.Record(flag.record)
			if b[flag.offset] == byte(value) {
				continue
			}
			b[flag.offset] = byte(value)
			h.SetRecord(flag.record, b)
			if f := v.survey(t, h, true); f.opened == nil {
				t.Fatalf("byte %d of the %s is %d: the volume opens", flag.offset, flag.record, value)
			}
		}
	}
}

// A log that was replayed once, with the root that goes with it, behind the root
// of now; and the root of then, with all that there is now.
func TestA24_ReplayOldLog(t *testing.T) {
	v, _ := filled(t)
	then := v.crash()
	v.host = then.host.Clone()
	v.open(t)
	v.put(t, 10, content{9000, 700})
	v.drop(t, 11, 700)
	v.close(t)
	h := v.host.Clone()
	for _, id := range then.host.SegmentIDs() {
		h.SetSegment(id, then.host.Segment(id))
	}
	if f := v.both(t, h); f.opened == nil && f.state != v.last {
		t.Errorf("with the log of before: state %d", f.state)
	}
	h = v.host.Clone()
	h.SetRecord("root", then.host.Record("root"))
	if f := v.both(t, h); f.opened == nil && f.state > then.last {
		t.Errorf("with the root of before: state %d", f.state)
	}
}

// A change of the key is going on if the root and the segments say so: a header
// that claims it is refused, forged or kept from when it was true.
func TestA25_ForgeMigration(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	old := v.host.Record("header")
	v.s = mustOpen(t, v.host, oldSecret)
	if err := v.s.AddGeneration(bg, newSecret); err != nil {
		t.Fatal(err)
	}
	going := v.host.Record("header") // two slots
	if err := rekey(v.s); err != nil {
		t.Fatal(err)
	}
	v.s.Close()
	done := v.host.Record("header")
	claim := bytes.Clone(done)
	claim[40]++ // one slot more, of bytes that are there
	earlier := bytes.Clone(done)
	earlier[41]++
	for name, header := range map[string][]byte{
		"of before": old, "of when it was going on": going, "with another slot": claim, "with an earlier key": earlier,
	} {
		h := v.host.Clone()
		h.SetRecord("header", header)
		for _, secret := range []store.Secret{oldSecret, newSecret} {
			s, err := openWith(h.Clone(), secret)
			if err == nil {
				s.Close()
				t.Errorf("a header %s: %q opens the volume", name, secret.Descriptor)
				continue
			}
			typed(t, err)
		}
	}
}

// Whichever byte of a frame is wrong, and whether by one bit or all: it is the
// same error, so nobody learns from it what he guessed right.
func TestA37_OneErrorForDamage(t *testing.T) {
	v, at := filled(t)
	v.close(t)
	e := at[10]
	said := map[string]int{}
	for off := range 700 + seal.TagSize {
		for _, bits := range []byte{1, 0x80, 0xff} {
			h := v.host.Clone()
			b := h.Segment(e.Segment)[int(e.Offset)+off] ^ bits
			h.Overwrite(e.Segment, int64(e.Offset)+int64(off), []byte{b})
			s, err := store.Open(bg, h, store.Options{Unlocker: unlocker, ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			err = v.readOne(s, dataKey(10, 700), v.last)
			if !errors.Is(err, store.ErrDamaged) {
				t.Fatalf("byte %d: %v", off, err)
			}
			said[err.Error()]++
			s.Close()
		}
	}
	if len(said) != 1 {
		t.Errorf("%d different errors: %v", len(said), said)
	}
	for text := range said {
		if regexp.MustCompile(`(?i)tag|padding|mac\b`).MatchString(text) {
			t.Errorf("the error says which check failed: %q", text)
		}
	}
}

// Parts of the map, the table and the log at each other's places, at random: what
// can be read is right.
func TestA45_ForgeMetadata(t *testing.T) {
	closed, _ := filled(t)
	closed.close(t)
	open, _ := filled(t)
	r := rand.New(rand.NewPCG(newSeed(t), 7))
	for _, v := range []*vault{closed, open.crash()} {
		ids := v.host.SegmentIDs()
		for range 1000 {
			h := v.host.Clone()
			from, to := ids[r.IntN(len(ids))], ids[r.IntN(len(ids))]
			source := h.Segment(from)[seal.PreambleSize:]
			if len(source) == 0 || len(h.Segment(to)) <= seal.PreambleSize {
				continue
			}
			at := r.IntN(len(source))
			part := source[at:][:1+r.IntN(min(2000, len(source)-at))]
			room := len(h.Segment(to)) - seal.PreambleSize
			h.Overwrite(to, int64(seal.PreambleSize+r.IntN(room)), part)
			v.survey(t, h, r.IntN(4) > 0)
		}
	}
}

package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/storetest"
)

// Suite, version and lengths of header and root are the host's to change, and
// changed ones are refused: there is no weaker way to open a volume.
func TestA21_EditHeader(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	for _, record := range []string{"header", "root"} {
		for suite := range 256 {
			h := v.host.Clone()
			b := h.Record(record)
			b[10] = byte(suite)
			h.SetRecord(record, b)
			f := v.survey(t, h, true)
			if suite == int(seal.SuiteAESGCM) {
				continue
			}
			if !errors.Is(f.opened, store.ErrVersion) || !strings.Contains(f.opened.Error(), "suite") {
				t.Fatalf("suite %d of the %s: %v", suite, record, f.opened)
			}
		}
	}
	for shift := range 256 {
		if b := v.host.Record("header"); b[11] != byte(shift) {
			b[11] = byte(shift)
			h := v.host.Clone()
			h.SetRecord("header", b)
			if f := v.survey(t, h, true); !errors.Is(f.opened, store.ErrDamaged) {
				t.Fatalf("segment size of 2^%d: %v", shift, f.opened)
			}
		}
	}
}

func TestA22_Downgrade(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	for _, record := range []string{"header", "root"} {
		for _, version := range []uint16{0, 2, 255, 256, 65535} {
			h := v.host.Clone()
			b := h.Record(record)
			binary.BigEndian.PutUint16(b[8:], version)
			h.SetRecord(record, b)
			f := v.survey(t, h, true)
			if !errors.Is(f.opened, store.ErrVersion) || !strings.Contains(f.opened.Error(), "version") {
				t.Errorf("version %d of the %s: %v", version, record, f.opened)
			}
		}
	}
}

// anyway gives its key for the first slot, whatever the slot says.
type anyway struct{ key.Key }

func (u anyway) Unlock(context.Context, []store.Slot) (int, key.Key, error) { return 0, u.Key, nil }

func TestA28_WrongSpec(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	for _, u := range []store.Unlocker{
		storetest.Unlocker("another spec"),
		anyway{storetest.Secret("another spec").Key},
		anyway{key.New()},
	} {
		for _, readOnly := range []bool{true, false} {
			_, err := store.Open(bg, v.host, store.Options{Unlocker: u, ReadOnly: readOnly})
			if !errors.Is(err, store.ErrWrongKey) || errors.Is(err, store.ErrDamaged) {
				t.Errorf("%v: %v", u, err)
			}
		}
	}
	if f := v.both(t, v.host); f.harmed() {
		t.Errorf("afterwards: %+v", f)
	}
}

// Two volumes of one spec: nothing of one passes in the other.
func TestA29_SpliceVolumes(t *testing.T) {
	x, _ := filled(t)
	y, _ := filled(t)
	x.close(t)
	y.close(t)
	for _, id := range x.host.SegmentIDs() {
		if y.host.Segment(id) == nil {
			continue
		}
		h := y.host.Clone()
		h.SetSegment(id, x.host.Segment(id))
		if f := y.both(t, h); !f.harmed() {
			for k := range y.items { // a segment of no use to the closed volume
				if f.damaged[k] {
					t.Errorf("segment %d: item %v", id, k)
				}
			}
		}
	}
	for _, records := range [][]string{{"root"}, {"header"}} {
		h := y.host.Clone()
		for _, name := range records {
			h.SetRecord(name, x.host.Record(name))
		}
		if f := y.both(t, h); f.opened == nil {
			t.Errorf("%v of another volume: it opens", records)
		}
	}
}

// A frame of one role never passes for one of another, and no two roles share a
// key.
func TestA30_Roles(t *testing.T) {
	k := seal.NewSegmentKey(storetest.Secret("volume").Key, [16]byte{1}, 2, [32]byte{3})
	types := []seal.FrameType{seal.FrameData, seal.FrameNode, seal.FrameBatch, seal.FrameRecords, seal.FrameTable}
	for _, as := range types {
		frame := k.Seal(nil, as, 4096, []byte("content"))
		for _, to := range append(types, 0, 255) {
			_, err := k.Open(nil, to, 4096, frame)
			if (err == nil) != (as == to) {
				t.Errorf("a frame of type %d opened as type %d: %v", as, to, err)
			}
		}
		if _, err := k.Open(nil, as, 4097, frame); err == nil {
			t.Errorf("a frame of type %d opens at another place", as)
		}
	}
	for i, other := range []seal.SegmentKey{
		seal.NewSegmentKey(storetest.Secret("other").Key, [16]byte{1}, 2, [32]byte{3}),
		seal.NewSegmentKey(storetest.Secret("volume").Key, [16]byte{2}, 2, [32]byte{3}),
		seal.NewSegmentKey(storetest.Secret("volume").Key, [16]byte{1}, 3, [32]byte{3}),
		seal.NewSegmentKey(storetest.Secret("volume").Key, [16]byte{1}, 2, [32]byte{4}),
	} {
		if _, err := other.Open(nil, seal.FrameData, 4096, k.Seal(nil, seal.FrameData, 4096, []byte("content"))); err == nil {
			t.Errorf("key %d opens the frame too", i)
		}
	}
}

// An attacker who knows two keys can make one GCM ciphertext that opens under
// both. The commitment of a slot is what keeps a header from being of two
// minds: a slot opens for the one key that it names.
func TestA31_KeyCommitment(t *testing.T) {
	mine, yours := storetest.Secret("mine"), storetest.Secret("yours")
	ring := seal.Keyring{1: key.New()}
	build := func(s store.Secret) []byte {
		b, err := seal.BuildHeader([16]byte{1}, 20, 1, []seal.SlotSecret{{Kind: s.Kind, Generation: 1, Descriptor: []byte("same"), Key: s.Key}}, ring)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const salt, commitment = 44 + 8, 44 + 40
	a, b := build(mine), build(yours)
	for _, c := range []struct {
		from, to int
		mine     error // what my key gives
	}{
		{0, 0, nil},
		{commitment, commitment + 32, seal.ErrWrongKey},
		{salt, salt + 32, seal.ErrWrongKey},
		{salt, commitment + 32, seal.ErrWrongKey},
		{len(a) - 48, len(a), seal.ErrDamaged},
	} {
		mixed := bytes.Clone(a)
		copy(mixed[c.from:c.to], b[c.from:c.to])
		h, err := seal.ParseHeader(mixed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Unlock(0, mine.Key); !errors.Is(err, c.mine) {
			t.Errorf("bytes %d..%d of another's slot: my key gives %v, want %v", c.from, c.to, err, c.mine)
		}
		if _, err := h.Unlock(0, yours.Key); err == nil {
			t.Errorf("bytes %d..%d of another's slot: both keys open it", c.from, c.to)
		}
	}
}

// The attacker's own slot, around a volume key of his own, is of no use with the
// rest of the volume.
func TestA27_ForeignSlot(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	old, err := seal.ParseHeader(v.host.Record("header"))
	if err != nil {
		t.Fatal(err)
	}
	secret := storetest.Secret("test") // even if he knew the spec's key
	b, err := seal.BuildHeader(old.Volume, old.SegmentShift, old.Sequence, []seal.SlotSecret{
		{Kind: secret.Kind, Generation: 1, Descriptor: secret.Descriptor, Key: secret.Key},
	}, seal.Keyring{1: key.New()})
	if err != nil {
		t.Fatal(err)
	}
	h := v.host.Clone()
	h.SetRecord("header", b)
	if f := v.both(t, h); !errors.Is(f.opened, store.ErrDamaged) {
		t.Errorf("%+v", f)
	}
}

package seal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store/seal"
)

func header(t *testing.T, ring seal.Keyring, slots ...seal.SlotSecret) ([]byte, seal.Header) {
	t.Helper()
	b, err := seal.BuildHeader([16]byte{1}, 24, 3, slots, ring)
	if err != nil {
		t.Fatal(err)
	}
	h, err := seal.ParseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	return b, h
}

func slotFor(b byte, generation uint32) seal.SlotSecret {
	return seal.SlotSecret{Kind: seal.SlotSpec, Generation: generation, Descriptor: []byte{b}, Key: fixedKey(b)}
}

func TestHeaderFields(t *testing.T) {
	_, h := header(t, seal.Keyring{1: key.New()}, slotFor(1, 1), slotFor(2, 1))
	if h.SegmentShift != 24 || h.Sequence != 3 || h.Volume != [16]byte{1} || len(h.Slots) != 2 {
		t.Errorf("%+v", h)
	}
	for i, s := range h.Slots {
		if s.Kind != seal.SlotSpec || s.Generation != 1 || !bytes.Equal(s.Descriptor, []byte{byte(i + 1)}) {
			t.Errorf("slot %d: %+v", i, s)
		}
	}
}

// Each slot opens with its own key only, and all of one generation hold the
// same.
func TestSlots(t *testing.T) {
	vk := key.New()
	_, h := header(t, seal.Keyring{1: vk}, slotFor(1, 1), slotFor(2, 1), slotFor(3, 1), slotFor(4, 1))
	for i := range h.Slots {
		for b := byte(1); b <= 5; b++ {
			ring, err := h.Unlock(i, fixedKey(b))
			switch {
			case int(b) != i+1 && !errors.Is(err, seal.ErrWrongKey):
				t.Errorf("slot %d, key %d: %v", i, b, err)
			case int(b) == i+1 && (err != nil || !ring[1].Equal(vk)):
				t.Errorf("slot %d, its own key: %v", i, err)
			}
		}
	}
}

// Whose slot is opened gives the keys of its own generation and of all before, and of
// none after.
func TestGenerations(t *testing.T) {
	ring := seal.Keyring{}
	for g := uint32(1); g <= 3; g++ {
		ring[g] = key.New()
	}
	newest := ring.Newest()
	_, h := header(t, ring, slotFor(1, 2), slotFor(2, newest))
	got, err := h.Unlock(1, fixedKey(2))
	if err != nil || len(got) != len(ring) {
		t.Fatalf("the newest slot gives %d keys: %v", len(got), err)
	}
	for g, k := range ring {
		if !got[g].Equal(k) {
			t.Errorf("another key of generation %d", g)
		}
	}
	got, err = h.Unlock(0, fixedKey(1))
	if err != nil || len(got) != 2 || !got[1].Equal(ring[1]) || !got[2].Equal(ring[2]) {
		t.Errorf("the older slot gives %d keys: %v", len(got), err)
	}
}

// No two headers share a salt or a wrap, whatever they hold.
func TestHeadersAreFresh(t *testing.T) {
	ring := seal.Keyring{1: key.New()}
	a, _ := header(t, ring, slotFor(1, 1))
	b, _ := header(t, ring, slotFor(1, 1))
	if bytes.Equal(a[52:84], b[52:84]) || bytes.Equal(a[len(a)-48:], b[len(b)-48:]) {
		t.Error("a salt or a wrap comes again")
	}
}

func TestHeaderLimits(t *testing.T) {
	big := slotFor(1, 1)
	big.Descriptor = make([]byte, seal.MaxDescriptorSize+1)
	many := seal.Keyring{}
	for g := uint32(1); g <= seal.MaxOlder+2; g++ {
		many[g] = key.New()
	}
	for name, build := range map[string]func() ([]byte, error){
		"no slot": func() ([]byte, error) { return seal.BuildHeader([16]byte{}, 20, 1, nil, seal.Keyring{1: key.New()}) },
		"five slots": func() ([]byte, error) {
			return seal.BuildHeader([16]byte{}, 20, 1, make([]seal.SlotSecret, seal.MaxSlots+1), seal.Keyring{1: key.New()})
		},
		"descriptor": func() ([]byte, error) {
			return seal.BuildHeader([16]byte{}, 20, 1, []seal.SlotSecret{big}, seal.Keyring{1: key.New()})
		},
		"six keys": func() ([]byte, error) {
			return seal.BuildHeader([16]byte{}, 20, 1, []seal.SlotSecret{slotFor(1, 1)}, many)
		},
		"root": func() ([]byte, error) {
			return seal.SealRoot(key.New(), [16]byte{}, 1, 1, make([]byte, seal.MaxRootSize))
		},
	} {
		if _, err := build(); !errors.Is(err, seal.ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, _ := header(t, seal.Keyring{1: key.New()}, slotFor(1, 1))
	if _, err := seal.ParseHeader(append(b, make([]byte, seal.MaxHeaderSize)...)); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("a header over the limit: %v", err)
	}
	// One whose public part ends before its fixed part does, and the sizes add up.
	short := append([]byte(nil), b[:2+48]...)
	binary.BigEndian.PutUint32(short[36:], 2)
	if _, err := seal.ParseHeader(short); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("a header with a public part of 2 bytes: %v", err)
	}
}

func TestPreamble(t *testing.T) {
	want := seal.Preamble{Kind: seal.KindNode, Volume: [16]byte{1}, Number: 2, Generation: 3, Salt: [32]byte{4}, Header: []byte("header")}
	b := want.Encode()
	got, err := seal.ParsePreamble(b)
	if err != nil || len(b) != seal.PreambleSize || !bytes.Equal(got.Encode(), b) {
		t.Fatalf("%+v, %v", got, err)
	}
	for name, c := range map[string]struct {
		at   int
		to   byte
		want error
	}{
		"magic":   {0, 'x', seal.ErrDamaged},
		"version": {9, 9, seal.ErrVersion},
		"suite":   {11, 0, seal.ErrVersion},
		"header":  {72, 0xff, seal.ErrDamaged},
	} {
		x := bytes.Clone(b)
		x[c.at] = c.to
		if _, err := seal.ParsePreamble(x); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

package seal_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store/seal"
)

var update = flag.Bool("update", false, "write the vectors anew")

// hexBytes are bytes that stand in JSON as hex.
type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

func (b *hexBytes) UnmarshalText(s []byte) (err error) {
	*b, err = hex.DecodeString(string(s))
	return err
}

// classes are the results that vectors expect.
var classes = map[string]error{
	"ok": nil, "damaged": seal.ErrDamaged, "version": seal.ErrVersion, "wrong key": seal.ErrWrongKey,
}

func class(t *testing.T, name string, err error) string {
	t.Helper()
	for c, e := range classes {
		if e == nil && err == nil || e != nil && errors.Is(err, e) {
			return c
		}
	}
	t.Fatalf("%s: an error of no class: %v", name, err)
	return ""
}

// vector is one case. Each differs from a good one in a single thing.
type vector struct {
	Name  string   `json:"name"`
	Hunts string   `json:"hunts"` // what a reader that fails it does wrong
	Want  string   `json:"want"`
	Bytes hexBytes `json:"bytes"`

	Key     hexBytes            `json:"key,omitempty"`     // of the slot, or the volume key
	Slot    int                 `json:"slot,omitempty"`    // index
	Keys    map[uint32]hexBytes `json:"keys,omitempty"`    // volume keys found, by generation
	Plain   hexBytes            `json:"plain,omitempty"`   // what is inside
	Volume  hexBytes            `json:"volume,omitempty"`  // of a frame
	Segment uint64              `json:"segment,omitempty"` // of a frame
	Salt    hexBytes            `json:"salt,omitempty"`    // of a frame's segment
	Type    uint8               `json:"type,omitempty"`    // of a frame
	Offset  uint32              `json:"offset,omitempty"`  // of a frame
}

// vectors reads a file of testdata/vectors, having written it if -update is set.
func vectors(t *testing.T, file string, make func() []vector) (vs []vector) {
	t.Helper()
	path := filepath.Join("..", "..", "testdata", "vectors", file)
	if *update {
		b, err := json.MarshalIndent(make(), "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &vs); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if len(vs) < 10 {
		t.Fatalf("%s has %d vectors", path, len(vs))
	}
	return vs
}

// defect is a change of a good vector.
type defect struct {
	name, hunts, want string
	edit              func(v *vector)
}

// with makes a vector of each defect, and of none.
func with(good vector, defects []defect) []vector {
	good.Want = "ok"
	vs := []vector{good}
	for _, d := range defects {
		v := good
		v.Bytes = bytes.Clone(good.Bytes)
		v.Key = bytes.Clone(good.Key)
		v.Keys, v.Plain = nil, nil
		v.Name, v.Hunts, v.Want = good.Name+": "+d.name, d.hunts, d.want
		d.edit(&v)
		vs = append(vs, v)
	}
	return vs
}

func set(at int, b ...byte) func(*vector) {
	return func(v *vector) { copy(v.Bytes[at:], b) }
}

func flip(at int) func(*vector) {
	return func(v *vector) {
		if at < 0 {
			at += len(v.Bytes)
		}
		v.Bytes[at] ^= 1
	}
}

func fixedKey(b byte) key.Key {
	k, err := key.FromBytes(bytes.Repeat([]byte{b}, key.Size))
	if err != nil {
		panic(err)
	}
	return k
}

func TestHeaderVectors(t *testing.T) {
	for _, v := range vectors(t, "header.json", makeHeaders) {
		h, err := seal.ParseHeader(v.Bytes)
		var ring seal.Keyring
		if err == nil {
			k, kerr := key.FromBytes(v.Key)
			if kerr != nil {
				t.Fatalf("%s: %v", v.Name, kerr)
			}
			ring, err = h.Unlock(v.Slot, k)
		}
		if got := class(t, v.Name, err); got != v.Want {
			t.Errorf("%s: %s (%v), want %s. It hunts: %s", v.Name, got, err, v.Want, v.Hunts)
		}
		if len(ring) != len(v.Keys) {
			t.Errorf("%s: %d volume keys, want %d", v.Name, len(ring), len(v.Keys))
		}
		for g, want := range v.Keys {
			if k, ok := ring[g]; !ok || !bytes.Equal(k.Bytes(), want) {
				t.Errorf("%s: another key of generation %d", v.Name, g)
			}
		}
	}
}

// A copy of a header that stands behind a checkpoint has zeros behind it, up to a whole
// sector (docs/format.md, "Segments"): of every vector the copy is found as the header
// is, or refused as it is.
func TestHeaderCopyVectors(t *testing.T) {
	for _, v := range vectors(t, "header.json", makeHeaders) {
		sectors := (len(v.Bytes) + seal.SectorSize - 1) / seal.SectorSize
		b := append(bytes.Clone(v.Bytes), make([]byte, sectors*seal.SectorSize-len(v.Bytes))...)
		n := seal.HeaderSize(b)
		if v.Want == "ok" && n != len(v.Bytes) {
			t.Errorf("%s: the copy has %d bytes, want %d", v.Name, n, len(v.Bytes))
		}
		if n == 0 || n > len(b) || v.Hunts == "headers that go on" {
			continue // none is looked for; and what is behind a copy is none of it
		}
		h, err := seal.ParseHeader(b[:n])
		if err == nil {
			k, kerr := key.FromBytes(v.Key)
			if kerr != nil {
				t.Fatalf("%s: %v", v.Name, kerr)
			}
			_, err = h.Unlock(v.Slot, k)
		}
		if got := class(t, v.Name, err); (got == "ok") != (v.Want == "ok") {
			t.Errorf("%s: the copy is %s (%v), the header %s. It hunts: %s", v.Name, got, err, v.Want, v.Hunts)
		}
	}
}

func makeHeaders() []vector {
	volume := [16]byte{0xc0, 0xff, 0xe4}
	slot := func(b byte, generation uint32, descriptor string) seal.SlotSecret {
		return seal.SlotSecret{Kind: seal.SlotSpec, Generation: generation, Descriptor: []byte(descriptor), Key: fixedKey(b)}
	}
	build := func(ring seal.Keyring, slots ...seal.SlotSecret) hexBytes {
		b, err := seal.BuildHeader(volume, 20, 7, slots, ring)
		if err != nil {
			panic(err)
		}
		return b
	}
	const slot0, salt0, commitment0, descriptor0 = 44, 44 + 8, 44 + 40, 44 + 72
	one := vector{
		Name: "one slot", Hunts: "another derivation",
		Bytes: build(seal.Keyring{1: fixedKey(0xa1)}, slot(1, 1, "spec one")),
		Key:   fixedKey(1).Bytes(), Keys: map[uint32]hexBytes{1: fixedKey(0xa1).Bytes()},
	}
	vs := with(one, []defect{
		{"magic", "other files taken for headers", "damaged", flip(0)},
		{"format version 0", "versions below the first", "version", set(8, 0, 0)},
		{"format version 2", "a version that is not known", "version", set(8, 0, 2)},
		{"suite 0", "a null cipher (A21)", "version", set(10, 0)},
		{"suite 2", "a cipher that is not known", "version", set(10, 2)},
		{"segment size under the limit", "small segments", "damaged", set(11, 19)},
		{"segment size over the limit", "segments beyond what the host takes", "damaged", set(11, 27)},
		{"another segment size", "a public part that is not authenticated", "damaged", set(11, 21)},
		{"another volume", "a volume number that does not count", "wrong key", flip(12)},
		{"another sequence", "a header's age that is not authenticated", "damaged", flip(35)},
		{"public part longer", "lengths that are not checked", "damaged", flip(39)},
		{"public part huge", "lengths that overflow", "damaged", set(36, 0xff, 0xff, 0xff, 0xff)},
		{"no slots", "headers that nothing opens", "damaged", set(40, 0)},
		{"two slots announced", "counts that are not checked", "damaged", set(40, 2)},
		{"five slots announced", "counts over the limit", "damaged", set(40, 5)},
		{"an earlier key announced", "counts that are not checked", "damaged", set(41, 1)},
		{"five earlier keys announced", "counts over the limit", "damaged", set(41, 5)},
		{"first reserved byte", "reserved bytes that are ignored", "damaged", set(42, 1)},
		{"second reserved byte", "reserved bytes that are ignored", "damaged", set(43, 1)},
		{"another kind of slot", "a kind that is not authenticated", "damaged", set(slot0, 2)},
		{"reserved byte of the slot", "reserved bytes that are ignored", "damaged", set(slot0+1, 1)},
		{"descriptor longer", "lengths that are not checked", "damaged", flip(slot0 + 3)},
		{"descriptor over the limit", "lengths over the limit", "damaged", set(slot0+2, 0xff, 0xff)},
		{"another generation", "a generation that is not authenticated", "damaged", flip(slot0 + 7)},
		{"another salt", "a salt that does not count", "wrong key", flip(salt0)},
		{"another commitment", "a slot that opens for any key (A31)", "wrong key", flip(commitment0)},
		{"another descriptor", "a descriptor that is not authenticated (A27)", "damaged", flip(descriptor0)},
		{"wrapped key", "a wrap that is not authenticated", "damaged", flip(-40)},
		{"tag", "a tag that is not checked", "damaged", flip(-1)},
		{"cut off", "lengths that are not checked", "damaged", func(v *vector) { v.Bytes = v.Bytes[:len(v.Bytes)-1] }},
		{"cut to the magic", "lengths that are not checked", "damaged", func(v *vector) { v.Bytes = v.Bytes[:8] }},
		{"empty", "lengths that are not checked", "damaged", func(v *vector) { v.Bytes = v.Bytes[:0] }},
		{"a byte behind", "headers that go on", "damaged", func(v *vector) { v.Bytes = append(v.Bytes, 0) }},
		{"another key", "a slot that opens for any key", "wrong key", func(v *vector) { v.Key = fixedKey(2).Bytes() }},
	})
	ring := seal.Keyring{1: fixedKey(0xa1), 2: fixedKey(0xa2)}
	two := vector{
		Name: "two generations, the newer slot", Hunts: "earlier keys that are not found",
		Bytes: build(ring, slot(1, 1, "old"), slot(2, 2, "new")), Slot: 1,
		Key: fixedKey(2).Bytes(), Keys: map[uint32]hexBytes{1: fixedKey(0xa1).Bytes(), 2: fixedKey(0xa2).Bytes()},
	}
	older := len(two.Bytes) - 3*48 - 40
	vs = append(vs, with(two, []defect{
		{"earlier generation", "a generation that is not authenticated", "damaged", flip(older + 3)},
		{"salt of the earlier key", "a salt that does not count", "damaged", flip(older + 8)},
		{"earlier key", "a wrap that is not authenticated", "damaged", flip(-1)},
		{"the other slot", "a wrap whose public part is not all of the header", "damaged", flip(slot0)},
		{"the other slot's key", "slots that are exchanged", "wrong key", func(v *vector) { v.Key = fixedKey(1).Bytes() }},
	})...)
	two.Name, two.Hunts, two.Want = "two generations, the older slot", "an old key that learns the new one", "ok"
	two.Slot, two.Key, two.Keys = 0, fixedKey(1).Bytes(), map[uint32]hexBytes{1: fixedKey(0xa1).Bytes()}
	return append(vs, two)
}

func TestRootVectors(t *testing.T) {
	for _, v := range vectors(t, "root.json", makeRoots) {
		info, err := seal.ParseRoot(v.Bytes)
		var plain []byte
		if err == nil {
			k, kerr := key.FromBytes(v.Key)
			if kerr != nil {
				t.Fatalf("%s: %v", v.Name, kerr)
			}
			plain, err = info.Open(k)
		}
		if got := class(t, v.Name, err); got != v.Want {
			t.Errorf("%s: %s (%v), want %s. It hunts: %s", v.Name, got, err, v.Want, v.Hunts)
		}
		if !bytes.Equal(plain, v.Plain) {
			t.Errorf("%s: plaintext %x, want %x", v.Name, plain, v.Plain)
		}
	}
}

func makeRoots() []vector {
	plain := []byte("what a root holds is the business of the store")
	b, err := seal.SealRoot(fixedKey(0xa1), [16]byte{0xc0, 0xff, 0xe4}, 1, 9, plain)
	if err != nil {
		panic(err)
	}
	good := vector{Name: "root", Hunts: "another derivation", Bytes: b, Key: fixedKey(0xa1).Bytes(), Plain: plain}
	vs := with(good, []defect{
		{"magic", "other records taken for roots", "damaged", flip(0)},
		{"format version 2", "a version that is not known", "version", set(8, 0, 2)},
		{"suite 0", "a null cipher", "version", set(10, 0)},
		{"reserved byte", "reserved bytes that are ignored", "damaged", set(11, 1)},
		{"another volume", "a volume number that does not count (A29)", "damaged", flip(12)},
		{"another generation", "a generation that is not authenticated", "damaged", flip(31)},
		{"another sequence", "an age that is not authenticated", "damaged", flip(39)},
		{"another salt", "a salt that does not count", "damaged", flip(40)},
		{"shorter", "lengths that are not authenticated", "damaged", func(v *vector) { v.Bytes[75]-- }},
		{"longer", "lengths that are not checked", "damaged", func(v *vector) { v.Bytes[75]++ }},
		{"huge", "lengths that overflow", "damaged", set(72, 0xff, 0xff, 0xff, 0xff)},
		{"without a tag", "lengths that are not checked", "damaged", set(72, 0, 0, 0, 15)},
		{"content", "content that is not authenticated", "damaged", flip(76)},
		{"tag", "a tag that is not checked", "damaged", flip(-1)},
		{"cut off", "lengths that are not checked", "damaged", func(v *vector) { v.Bytes = v.Bytes[:len(v.Bytes)-1] }},
		{"another key", "roots of other volumes", "damaged", func(v *vector) { v.Key = fixedKey(0xa2).Bytes() }},
	})
	good.Name, good.Hunts, good.Want = "root: more behind it", "copies of roots, which are padded", "ok"
	good.Bytes = append(bytes.Clone(good.Bytes), make([]byte, 100)...)
	return append(vs, good)
}

func TestFrameVectors(t *testing.T) {
	for _, v := range vectors(t, "frame.json", makeFrames) {
		k, err := key.FromBytes(v.Key)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		sk := seal.NewSegmentKey(k, [16]byte(v.Volume), v.Segment, [32]byte(v.Salt))
		plain, err := sk.Open(nil, seal.FrameType(v.Type), v.Offset, v.Bytes)
		if got := class(t, v.Name, err); got != v.Want {
			t.Errorf("%s: %s (%v), want %s. It hunts: %s", v.Name, got, err, v.Want, v.Hunts)
		}
		if !bytes.Equal(plain, v.Plain) {
			t.Errorf("%s: plaintext %x, want %x", v.Name, plain, v.Plain)
		}
		if v.Want == "ok" && !bytes.Equal(sk.Seal(nil, seal.FrameType(v.Type), v.Offset, v.Plain), v.Bytes) {
			t.Errorf("%s: sealed again it is another frame", v.Name)
		}
	}
}

func makeFrames() []vector {
	good := vector{
		Name: "frame", Hunts: "another derivation, nonce or associated data",
		Key: fixedKey(0xa1).Bytes(), Volume: append(hexBytes{0xc0, 0xff, 0xe4}, make([]byte, 13)...),
		Segment: 5, Salt: bytes.Repeat([]byte{0x5a}, 32), Type: uint8(seal.FrameData), Offset: 4208,
		Plain: []byte("sixteen frames in the dead man's segment"),
	}
	sk := seal.NewSegmentKey(fixedKey(0xa1), [16]byte(good.Volume), good.Segment, [32]byte(good.Salt))
	good.Bytes = sk.Seal(nil, seal.FrameData, good.Offset, good.Plain)
	return with(good, []defect{
		{"first byte", "content that is not authenticated", "damaged", flip(0)},
		{"tag", "a tag that is not checked", "damaged", flip(-1)},
		{"cut off", "lengths that are not authenticated", "damaged", func(v *vector) { v.Bytes = v.Bytes[:len(v.Bytes)-1] }},
		{"tag only", "lengths that are not authenticated", "damaged", func(v *vector) { v.Bytes = v.Bytes[len(v.Bytes)-16:] }},
		{"under a tag", "lengths that are not checked", "damaged", func(v *vector) { v.Bytes = v.Bytes[:15] }},
		{"empty", "lengths that are not checked", "damaged", func(v *vector) { v.Bytes = v.Bytes[:0] }},
		{"a byte behind", "lengths that are not authenticated", "damaged", func(v *vector) { v.Bytes = append(v.Bytes, 0) }},
		{"as a node", "types that are not authenticated (A30)", "damaged", func(v *vector) { v.Type = uint8(seal.FrameNode) }},
		{"another place", "frames that can be moved (A02)", "damaged", func(v *vector) { v.Offset++ }},
		{"another segment", "frames that can be moved (A03)", "damaged", func(v *vector) { v.Segment++ }},
		{"another salt", "frames of a fork (A17)", "damaged", func(v *vector) {
			v.Salt = bytes.Repeat([]byte{0x5b}, 32)
		}},
		{"another volume", "frames of another volume (A29)", "damaged", func(v *vector) {
			v.Volume = make([]byte, 16)
		}},
		{"another key", "frames of another generation", "damaged", func(v *vector) { v.Key = fixedKey(0xa2).Bytes() }},
	})
}

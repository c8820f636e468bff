package seal

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/coffer-fs/coffer/key"
)

const (
	headerMagic = "coffhead"
	headerFixed = 44
	slotFixed   = 72
	olderFixed  = 40
	wrapSize    = key.Size + TagSize
)

// Limits of a header.
const (
	MaxHeaderSize     = 16 << 10 // bytes
	MaxSlots          = 4
	MaxOlder          = 4       // volume keys of earlier generations
	MaxDescriptorSize = 3 << 10 // bytes
	MinSegmentShift   = 20      // log2 of the smallest segment capacity
	MaxSegmentShift   = 26      // and of the largest
)

// SlotKind says whose key opens a slot.
type SlotKind uint8

// Kinds of key slots. A number is never reused.
const (
	SlotSpec    SlotKind = 1 // the KDS key of a key spec; the descriptor is the spec
	SlotMachine SlotKind = 2 // the platform's own seal key; the descriptor says which
	// SlotHandover: the secret that an enclave handed over to the spec that the
	// descriptor is.
	SlotHandover SlotKind = 3
)

// Slot is the public part of a key slot.
type Slot struct {
	Kind       SlotKind
	Generation uint32 // of the volume key inside
	Descriptor []byte // what key to ask for; authenticated once the slot opens
	salt       [32]byte
	commitment [32]byte
}

// older is the public part of an earlier generation's volume key, wrapped under
// a newer one.
type older struct {
	generation, by uint32
	salt           [32]byte
}

// Header is a parsed volume header. Nothing in it is trusted before Unlock.
type Header struct {
	SegmentShift uint8 // log2 of the capacity of segments in bytes
	Volume       [16]byte
	Sequence     uint64 // grows with every change of the header
	Slots        []Slot
	older        []older
	public       []byte // all before the wraps: their AAD
	wraps        []byte
}

// Keyring holds the volume keys by generation.
type Keyring map[uint32]key.Key

// Newest is the highest generation in r, 0 if there is none.
func (r Keyring) Newest() uint32 {
	var g uint32
	for n := range r {
		g = max(g, n)
	}
	return g
}

// SlotSecret is a slot to be made: the key that will open it, and what is
// inside.
type SlotSecret struct {
	Kind       SlotKind
	Generation uint32
	Descriptor []byte
	Key        key.Key
}

// BuildHeader encodes a header with these slots. Every salt is fresh, so that
// no wrap ever repeats a nonce. The key of a generation is wrapped under each later
// one that has a slot, and under the newest, never the other way round: who has an
// old key learns no new one. ErrLimit.
func BuildHeader(volume [16]byte, segmentShift uint8, sequence uint64, slots []SlotSecret, ring Keyring) ([]byte, error) {
	old := olderOf(slots, ring)
	if len(slots) == 0 || len(slots) > MaxSlots || len(old) > MaxOlder {
		return nil, fmt.Errorf("header with %d slots and %d generations: %w", len(slots), len(ring), ErrLimit)
	}
	b := append([]byte(nil), headerMagic...)
	b = binary.BigEndian.AppendUint16(b, FormatVersion)
	b = append(b, byte(SuiteAESGCM), segmentShift)
	b = append(b, volume[:]...)
	b = binary.BigEndian.AppendUint64(b, sequence)
	b = binary.BigEndian.AppendUint32(b, 0) // length of the public part, below
	b = append(b, byte(len(slots)), byte(len(old)), 0, 0)
	keks := make([]key.Key, len(slots))
	for i, s := range slots {
		if len(s.Descriptor) > MaxDescriptorSize {
			return nil, fmt.Errorf("key slot descriptor of %d bytes: %w", len(s.Descriptor), ErrLimit)
		}
		salt := newSalt()
		keks[i] = slotKEK(s.Key, volume, salt)
		b = append(b, byte(s.Kind), 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(s.Descriptor)))
		b = binary.BigEndian.AppendUint32(b, s.Generation)
		b = append(b, salt[:]...)
		c := slotCommitment(keks[i], volume)
		b = append(b, c[:]...)
		b = append(b, s.Descriptor...)
	}
	for _, o := range old {
		b = binary.BigEndian.AppendUint32(b, o.generation)
		b = binary.BigEndian.AppendUint32(b, o.by)
		b = append(b, o.salt[:]...)
	}
	binary.BigEndian.PutUint32(b[36:], uint32(len(b)))
	public := slices.Clone(b)
	for i, s := range slots {
		b = wrap(b, keks[i].Derive(nil, "coffer/v1/wrap"), ring[s.Generation], public)
		keks[i].Destroy()
	}
	for _, o := range old {
		b = wrap(b, olderKEK(ring[o.by], volume, o), ring[o.generation], public)
	}
	if len(b) > MaxHeaderSize {
		return nil, fmt.Errorf("header of %d bytes: %w", len(b), ErrLimit)
	}
	return b, nil
}

// olderOf says which volume keys are wrapped under which others: whichever slot is
// opened, the keys of all generations before its own follow.
func olderOf(slots []SlotSecret, ring Keyring) (old []older) {
	by := map[uint32]bool{ring.Newest(): true}
	for _, s := range slots {
		by[s.Generation] = true
	}
	generations := slices.Sorted(maps.Keys(ring))
	for _, g := range generations {
		for _, n := range generations {
			if n > g && by[n] {
				old = append(old, older{generation: g, by: n, salt: newSalt()})
			}
		}
	}
	return old
}

// ParseHeader reads a header, which must fill b. ErrDamaged, ErrVersion.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < headerFixed || len(b) > MaxHeaderSize || string(b[:8]) != headerMagic {
		return Header{}, fmt.Errorf("volume header: %w", ErrDamaged)
	}
	if err := checkFormat("volume", binary.BigEndian.Uint16(b[8:]), Suite(b[10])); err != nil {
		return Header{}, err
	}
	b = slices.Clone(b)
	h := Header{
		SegmentShift: b[11],
		Volume:       [16]byte(b[12:28]),
		Sequence:     binary.BigEndian.Uint64(b[28:]),
	}
	publicSize := binary.BigEndian.Uint32(b[36:])
	slots, olds := int(b[40]), int(b[41])
	bad := h.SegmentShift < MinSegmentShift || h.SegmentShift > MaxSegmentShift ||
		slots == 0 || slots > MaxSlots || olds > MaxOlder || b[42] != 0 || b[43] != 0 ||
		publicSize < headerFixed ||
		uint64(publicSize)+uint64((slots+olds)*wrapSize) != uint64(len(b))
	if bad {
		return Header{}, fmt.Errorf("volume header: %w", ErrDamaged)
	}
	h.public, h.wraps = b[:publicSize:publicSize], b[publicSize:]
	if err := h.parseSlots(slots, olds); err != nil {
		return Header{}, err
	}
	return h, nil
}

func (h *Header) parseSlots(slots, olds int) error {
	rest := h.public[headerFixed:]
	for i := range slots {
		if len(rest) < slotFixed {
			return fmt.Errorf("key slot %d: %w", i, ErrDamaged)
		}
		size := int(binary.BigEndian.Uint16(rest[2:]))
		if rest[1] != 0 || size > MaxDescriptorSize || size > len(rest)-slotFixed {
			return fmt.Errorf("key slot %d: %w", i, ErrDamaged)
		}
		h.Slots = append(h.Slots, Slot{
			Kind:       SlotKind(rest[0]),
			Generation: binary.BigEndian.Uint32(rest[4:]),
			salt:       [32]byte(rest[8:40]),
			commitment: [32]byte(rest[40:72]),
			Descriptor: rest[slotFixed : slotFixed+size : slotFixed+size],
		})
		rest = rest[slotFixed+size:]
	}
	if len(rest) != olds*olderFixed {
		return fmt.Errorf("key slots: %w", ErrDamaged)
	}
	for ; len(rest) > 0; rest = rest[olderFixed:] {
		h.older = append(h.older, older{
			generation: binary.BigEndian.Uint32(rest),
			by:         binary.BigEndian.Uint32(rest[4:]),
			salt:       [32]byte(rest[8:40]),
		})
	}
	return nil
}

// Unlock opens slot i with k and returns the volume keys of its generation
// and of those before. ErrWrongKey if k is not the slot's key; ErrDamaged if it
// is, but any byte of the header was changed.
func (h Header) Unlock(i int, k key.Key) (Keyring, error) {
	s := h.Slots[i]
	kek := slotKEK(k, h.Volume, s.salt)
	defer kek.Destroy()
	if c := slotCommitment(kek, h.Volume); subtle.ConstantTimeCompare(c[:], s.commitment[:]) != 1 {
		return nil, fmt.Errorf("key slot %d: %w", i, ErrWrongKey)
	}
	vk, err := h.unwrap(i, kek.Derive(nil, "coffer/v1/wrap"))
	if err != nil {
		return nil, fmt.Errorf("key slot %d: %w", i, err)
	}
	ring := Keyring{s.Generation: vk}
	for j, o := range h.older {
		if o.by != s.Generation {
			continue
		}
		if ring[o.generation], err = h.unwrap(len(h.Slots)+j, olderKEK(vk, h.Volume, o)); err != nil {
			return nil, fmt.Errorf("volume key of generation %d: %w", o.generation, err)
		}
	}
	return ring, nil
}

func (h Header) unwrap(n int, k key.Key) (key.Key, error) {
	defer k.Destroy()
	p, err := newAEAD(k).Open(nil, make([]byte, 12), h.wraps[n*wrapSize:(n+1)*wrapSize], h.public)
	if err != nil {
		return key.Key{}, fmt.Errorf("volume header: %w", ErrDamaged)
	}
	defer clear(p)
	return key.FromBytes(p)
}

// wrap appends vk sealed under k, which is used this once.
func wrap(dst []byte, k, vk key.Key, public []byte) []byte {
	defer k.Destroy()
	return newAEAD(k).Seal(dst, make([]byte, 12), vk.Bytes(), public)
}

func slotKEK(k key.Key, volume [16]byte, salt [32]byte) key.Key {
	return k.Derive(salt[:], "coffer/v1/kek", volume[:])
}

// slotCommitment binds a slot to one key: GCM alone would let one ciphertext
// open under two.
func slotCommitment(kek key.Key, volume [16]byte) (c [32]byte) {
	k := kek.Derive(nil, "coffer/v1/commitment", volume[:])
	defer k.Destroy()
	copy(c[:], k.Bytes())
	return c
}

func olderKEK(vk key.Key, volume [16]byte, o older) key.Key {
	return vk.Derive(o.salt[:], "coffer/v1/generation", volume[:], u32(o.generation))
}

func newSalt() (s [32]byte) {
	rand.Read(s[:]) // never fails: the runtime aborts instead
	return s
}

// HeaderSize is the length of the header that b begins with, in bytes, as it
// says itself; 0 if none begins there.
func HeaderSize(b []byte) int {
	if len(b) < headerFixed || string(b[:8]) != headerMagic {
		return 0
	}
	size := uint64(binary.BigEndian.Uint32(b[36:])) + uint64(b[40])*wrapSize + uint64(b[41])*wrapSize
	if size > MaxHeaderSize {
		return 0
	}
	return int(size)
}

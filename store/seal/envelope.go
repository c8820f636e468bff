package seal

import (
	"encoding/binary"
	"fmt"

	"github.com/coffer-fs/coffer/key"
)

const (
	rootMagic = "coffroot"
	rootFixed = 76
	// MaxRootSize bounds a sealed root, in bytes.
	MaxRootSize = 60 << 10
)

// RootInfo is the public part of a sealed root.
type RootInfo struct {
	Volume     [16]byte
	Generation uint32 // of the volume key that seals it
	Sequence   uint64 // grows with every root
	salt       [32]byte
	sealed     []byte
	aad        []byte
}

// SealRoot seals a root under a key of its own: HKDF(VK, "coffer/v1/root" |
// volume | salt), with a fresh salt and hence a constant nonce. ErrLimit.
func SealRoot(vk key.Key, volume [16]byte, generation uint32, sequence uint64, root []byte) ([]byte, error) {
	if rootFixed+len(root)+TagSize > MaxRootSize {
		return nil, fmt.Errorf("root of %d bytes: %w", len(root), ErrLimit)
	}
	salt := newSalt()
	b := append([]byte(nil), rootMagic...)
	b = binary.BigEndian.AppendUint16(b, FormatVersion)
	b = append(b, byte(SuiteAESGCM), 0)
	b = append(b, volume[:]...)
	b = binary.BigEndian.AppendUint32(b, generation)
	b = binary.BigEndian.AppendUint64(b, sequence)
	b = append(b, salt[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(root)+TagSize))
	k := vk.Derive(nil, "coffer/v1/root", volume[:], salt[:])
	defer k.Destroy()
	return newAEAD(k).Seal(b, make([]byte, 12), root, b), nil
}

// ParseRoot reads the public part of a sealed root; b may go on behind it.
// ErrDamaged, ErrVersion.
func ParseRoot(b []byte) (RootInfo, error) {
	if len(b) < rootFixed || string(b[:8]) != rootMagic || b[11] != 0 {
		return RootInfo{}, fmt.Errorf("root: %w", ErrDamaged)
	}
	if err := checkFormat("root", binary.BigEndian.Uint16(b[8:]), Suite(b[10])); err != nil {
		return RootInfo{}, err
	}
	size := binary.BigEndian.Uint32(b[72:])
	if size < TagSize || size > MaxRootSize-rootFixed || int(size) > len(b)-rootFixed {
		return RootInfo{}, fmt.Errorf("root of %d sealed bytes: %w", size, ErrDamaged)
	}
	return RootInfo{
		Volume:     [16]byte(b[12:28]),
		Generation: binary.BigEndian.Uint32(b[28:]),
		Sequence:   binary.BigEndian.Uint64(b[32:]),
		salt:       [32]byte(b[40:72]),
		sealed:     append([]byte(nil), b[rootFixed:rootFixed+int(size)]...),
		aad:        append([]byte(nil), b[:rootFixed]...),
	}, nil
}

// RootSize is the length of a sealed root whose plaintext has so many bytes.
func RootSize(plain int) int { return rootFixed + plain + TagSize }

// Size is the length of the whole sealed root in bytes.
func (r RootInfo) Size() int { return rootFixed + len(r.sealed) }

// Open returns the root's plaintext. ErrDamaged.
func (r RootInfo) Open(vk key.Key) ([]byte, error) {
	k := vk.Derive(nil, "coffer/v1/root", r.Volume[:], r.salt[:])
	defer k.Destroy()
	p, err := newAEAD(k).Open(nil, make([]byte, 12), r.sealed, r.aad)
	if err != nil {
		return nil, fmt.Errorf("root %d: %w", r.Sequence, ErrDamaged)
	}
	return p, nil
}

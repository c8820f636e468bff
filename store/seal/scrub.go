package seal

import (
	"encoding/binary"
	"fmt"

	"github.com/coffer-fs/coffer/key"
)

const (
	scrubMagic = "coffscrb"
	scrubFixed = 64
)

// SealScrub seals how far a scrub has come, under a key of its own: HKDF(VK,
// "coffer/v1/scrub" | volume | salt), with a fresh salt and hence a constant nonce.
func SealScrub(vk key.Key, volume [16]byte, generation uint32, plain []byte) []byte {
	salt := newSalt()
	b := append([]byte(nil), scrubMagic...)
	b = binary.BigEndian.AppendUint16(b, FormatVersion)
	b = append(b, byte(SuiteAESGCM), 0)
	b = append(b, volume[:]...)
	b = binary.BigEndian.AppendUint32(b, generation)
	b = append(b, salt[:]...)
	k := vk.Derive(nil, "coffer/v1/scrub", volume[:], salt[:])
	defer k.Destroy()
	return newAEAD(k).Seal(b, make([]byte, 12), plain, b)
}

// OpenScrub opens what SealScrub sealed, with the key of its generation. ErrDamaged,
// ErrVersion.
func OpenScrub(ring Keyring, volume [16]byte, b []byte) ([]byte, error) {
	if len(b) < scrubFixed+TagSize || string(b[:8]) != scrubMagic || b[11] != 0 || [16]byte(b[12:28]) != volume {
		return nil, fmt.Errorf("scrub position: %w", ErrDamaged)
	}
	if err := checkFormat("scrub position", binary.BigEndian.Uint16(b[8:]), Suite(b[10])); err != nil {
		return nil, err
	}
	vk, ok := ring[binary.BigEndian.Uint32(b[28:])]
	if !ok {
		return nil, fmt.Errorf("scrub position: %w", ErrDamaged)
	}
	k := vk.Derive(nil, "coffer/v1/scrub", volume[:], b[32:scrubFixed])
	defer k.Destroy()
	p, err := newAEAD(k).Open(nil, make([]byte, 12), b[scrubFixed:], b[:scrubFixed])
	if err != nil {
		return nil, fmt.Errorf("scrub position: %w", ErrDamaged)
	}
	return p, nil
}

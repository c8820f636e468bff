package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"github.com/coffer-fs/coffer/key"
)

// FrameType says what a frame holds. It is authenticated, so that a frame of
// one type never passes for one of another.
type FrameType uint8

// Frame types. A number is never reused.
const (
	FrameData    FrameType = 1 // bytes of an object
	FrameNode    FrameType = 2 // a tree node
	FrameBatch   FrameType = 3 // the header of a log batch
	FrameRecords FrameType = 4 // the records of a log batch
	FrameTable   FrameType = 5 // a page of the segment table
)

// SegmentKey seals and opens the frames of one segment.
type SegmentKey struct{ aead cipher.AEAD }

// NewSegmentKey derives the key of segment number, opened once with this salt,
// from the volume key of its generation (docs/format.md, "Keys").
func NewSegmentKey(vk key.Key, volume [16]byte, number uint64, salt [32]byte) SegmentKey {
	k := vk.Derive(nil, "coffer/v1/segment", volume[:], u64(number), salt[:])
	defer k.Destroy()
	return SegmentKey{newAEAD(k)}
}

// Seal appends to dst the frame of p for the given offset of the segment:
// ciphertext, then tag. Each offset may be used once only, in the life of the
// segment. dst must not overlap p unless they are the same bytes.
func (k SegmentKey) Seal(dst []byte, t FrameType, offset uint32, p []byte) []byte {
	nonce := frameNonce(offset)
	aad := frameAAD(t, len(p))
	return k.aead.Seal(dst, nonce[:], p, aad[:])
}

// Open verifies the frame and appends its plaintext to dst. dst may be
// frame[:0]. ErrDamaged.
func (k SegmentKey) Open(dst []byte, t FrameType, offset uint32, frame []byte) ([]byte, error) {
	if len(frame) < TagSize {
		return nil, fmt.Errorf("frame of %d bytes: %w", len(frame), ErrDamaged)
	}
	nonce := frameNonce(offset)
	aad := frameAAD(t, len(frame)-TagSize)
	p, err := k.aead.Open(dst, nonce[:], frame, aad[:])
	if err != nil {
		return nil, ErrDamaged // one error for every cause
	}
	return p, nil
}

// frameNonce is the frame's byte offset in its segment, as 96 bits big-endian.
func frameNonce(offset uint32) (n [12]byte) {
	binary.BigEndian.PutUint32(n[8:], offset)
	return n
}

func frameAAD(t FrameType, plainSize int) (a [5]byte) {
	a[0] = byte(t)
	binary.BigEndian.PutUint32(a[1:], uint32(plainSize))
	return a
}

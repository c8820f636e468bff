package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/coffer-fs/coffer/store/seal"
)

// A batch is what one append puts into the log: docs/format.md, "Batch".
//
//	[header | data frames | records | padding to whole sectors]
//
// The header has a fixed size, so that the place of a data frame is known as soon
// as it is sealed, before the batch is complete.

const (
	batchPlainSize  = 8 + 8 + 4 + 4 + 4 + 4 + 32 + 32
	batchHeaderSize = batchPlainSize + seal.TagSize
	// maxBatch bounds one append, in bytes.
	maxBatch = 4 << 20
	// batchSlack is kept free for what closing adds: the introduction of the
	// next segment, the tag of the records, padding.
	batchSlack = segmentRecordSize + seal.TagSize + seal.SectorSize
	// finalRoom is kept free at the end of a segment for the batch that ends it.
	finalRoom = 2 * seal.SectorSize
)

// flagLast marks the last batch of its segment: the next one stands at the
// start of the segment that this one introduced last.
const flagLast = 1

// batchHeader is the fixed part of a batch.
type batchHeader struct {
	sequence    uint64 // grows by one with every batch of the volume
	synced      uint64 // every batch up to this one was durable before
	size        uint32 // of the whole batch, a multiple of the sector size
	records     uint32 // offset of the records' frame in the batch
	recordsSize uint32 // their plaintext
	flags       uint32
	previous    [32]byte // chain up to the batch before
	digest      [32]byte // SHA-256 of the records' frame
}

func (h batchHeader) encode() []byte {
	b := make([]byte, 0, batchPlainSize)
	b = binary.BigEndian.AppendUint64(b, h.sequence)
	b = binary.BigEndian.AppendUint64(b, h.synced)
	b = binary.BigEndian.AppendUint32(b, h.size)
	b = binary.BigEndian.AppendUint32(b, h.records)
	b = binary.BigEndian.AppendUint32(b, h.recordsSize)
	b = binary.BigEndian.AppendUint32(b, h.flags)
	b = append(b, h.previous[:]...)
	return append(b, h.digest[:]...)
}

// parseBatchHeader decodes a verified header and checks it against the room
// left in its segment. ErrDamaged.
func parseBatchHeader(b []byte, room uint32) (batchHeader, error) {
	h := batchHeader{
		sequence:    binary.BigEndian.Uint64(b),
		synced:      binary.BigEndian.Uint64(b[8:]),
		size:        binary.BigEndian.Uint32(b[16:]),
		records:     binary.BigEndian.Uint32(b[20:]),
		recordsSize: binary.BigEndian.Uint32(b[24:]),
		flags:       binary.BigEndian.Uint32(b[28:]),
		previous:    [32]byte(b[32:64]),
		digest:      [32]byte(b[64:96]),
	}
	end := uint64(h.records) + uint64(h.recordsSize) + seal.TagSize
	bad := h.size%seal.SectorSize != 0 || h.size > room || h.size > maxBatch ||
		h.records < batchHeaderSize || end > uint64(h.size) || h.flags&^flagLast != 0
	if bad {
		return h, fmt.Errorf("batch %d: %w", h.sequence, ErrDamaged)
	}
	return h, nil
}

// chain is the hash over all batches up to this one.
func (h batchHeader) chain() [32]byte {
	return sha256.Sum256(append([]byte("coffer/v1/chain"), h.encode()...))
}

// batch is being filled, or waits to be appended.
type batch struct {
	seg     *segment
	start   uint32 // offset in the segment
	buf     []byte // the whole batch as it will be stored
	used    int    // up to the end of the last frame
	limit   int    // most bytes the batch may take
	records []byte
	frames  sync.WaitGroup // data frames being sealed
	header  batchHeader    // set when closed
	chain   [32]byte       // up to it; set when closed
}

// newBatch starts a batch in buf at the given place.
func newBatch(seg *segment, start uint32, capacity int64, buf []byte) *batch {
	limit := min(int(capacity)-finalRoom-int(start), len(buf))
	return &batch{seg: seg, start: start, buf: buf, used: batchHeaderSize, limit: limit}
}

// fits reports whether so many more bytes of frames and records fit.
func (b *batch) fits(frames, records int) bool {
	return b.used+frames+len(b.records)+records+batchSlack <= b.limit
}

// empty reports whether nothing was put in.
func (b *batch) empty() bool { return len(b.records) == 0 && b.used == batchHeaderSize }

// place sets a frame of plain bytes aside and returns its offset in buf.
func (b *batch) place(plain int) int {
	at := b.used
	b.used += plain + seal.TagSize
	return at
}

// size is what the batch takes when closed, in bytes.
func (b *batch) size() int {
	return sectors(b.used + len(b.records) + seal.TagSize)
}

// close seals records and header. No frame can be placed afterwards, but those
// placed may still be being sealed.
func (b *batch) close(k seal.SegmentKey, h batchHeader) {
	size := b.size()
	h.size, h.records, h.recordsSize = uint32(size), uint32(b.used), uint32(len(b.records))
	sealed := k.Seal(b.buf[b.used:b.used:size], seal.FrameRecords, b.start+uint32(b.used), b.records)
	h.digest = sha256.Sum256(sealed)
	clear(b.buf[b.used+len(sealed) : size])
	k.Seal(b.buf[0:0:batchHeaderSize], seal.FrameBatch, b.start, h.encode())
	b.header = h
	b.buf = b.buf[:size]
}

package store

import (
	"encoding/binary"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/tree"
)

// root is one checkpoint: from it and the log behind it, the volume follows.
type root struct {
	sequence       uint64 // grows by one with every root
	headerSequence uint64 // the least header sequence that goes with it
	session        uint64 // how many times the volume was opened for writing
	clean          bool   // no batch follows
	capacity       int64  // size limit of the volume, bytes
	tree           tree.Ptr
	level          uint8
	log            logPosition
	nextSegment    host.SegmentID
	pages          []pagePtr
	anchored       *rootAnchor // nil if the volume has no anchor

	generation uint32 // whose key seals it; stands in its envelope
}

// logPosition is a place between two batches.
type logPosition struct {
	segment    host.SegmentID
	generation uint32
	salt       [32]byte
	offset     uint32
	sequence   uint64   // of the batch before
	chain      [32]byte // over all batches before
}

// Flags of a root.
const (
	rootClean    = 1
	rootAnchored = 2
)

const rootFixedSize = 8 + 8 + 8 + 1 + 8 + tree.PtrSize + 1 + 8 + 4 + 32 + 4 + 8 + 32 + 8 + 2

// encode encodes r (docs/format.md, "Root").
func (r root) encode() []byte {
	b := make([]byte, 0, rootFixedSize+len(r.pages)*pagePtrSize)
	b = binary.BigEndian.AppendUint64(b, r.sequence)
	b = binary.BigEndian.AppendUint64(b, r.headerSequence)
	b = binary.BigEndian.AppendUint64(b, r.session)
	var flags byte
	if r.clean {
		flags |= rootClean
	}
	if r.anchored != nil {
		flags |= rootAnchored
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(r.capacity))
	b = r.tree.Append(b)
	b = append(b, r.level)
	b = binary.BigEndian.AppendUint64(b, uint64(r.log.segment))
	b = binary.BigEndian.AppendUint32(b, r.log.generation)
	b = append(b, r.log.salt[:]...)
	b = binary.BigEndian.AppendUint32(b, r.log.offset)
	b = binary.BigEndian.AppendUint64(b, r.log.sequence)
	b = append(b, r.log.chain[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.nextSegment))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.pages)))
	for _, p := range r.pages {
		b = binary.BigEndian.AppendUint64(b, uint64(p.segment))
		b = binary.BigEndian.AppendUint32(b, p.offset)
		b = binary.BigEndian.AppendUint32(b, p.length)
		b = binary.BigEndian.AppendUint32(b, p.generation)
		b = append(b, p.salt[:]...)
	}
	if r.anchored != nil {
		b = r.anchored.append(b)
	}
	return b
}

// parseRoot decodes a root. ErrDamaged.
func parseRoot(b []byte) (root, error) {
	if len(b) < rootFixedSize || b[24] > rootClean|rootAnchored {
		return root{}, fmt.Errorf("root of %d bytes: %w", len(b), ErrDamaged)
	}
	r := root{
		sequence:       binary.BigEndian.Uint64(b),
		headerSequence: binary.BigEndian.Uint64(b[8:]),
		session:        binary.BigEndian.Uint64(b[16:]),
		clean:          b[24]&rootClean != 0,
		capacity:       int64(binary.BigEndian.Uint64(b[25:])),
		tree:           tree.DecodePtr(b[33:]),
		level:          b[49],
		log: logPosition{
			segment:    host.SegmentID(binary.BigEndian.Uint64(b[50:])),
			generation: binary.BigEndian.Uint32(b[58:]),
			salt:       [32]byte(b[62:94]),
			offset:     binary.BigEndian.Uint32(b[94:]),
			sequence:   binary.BigEndian.Uint64(b[98:]),
			chain:      [32]byte(b[106:138]),
		},
		nextSegment: host.SegmentID(binary.BigEndian.Uint64(b[138:])),
	}
	count := int(binary.BigEndian.Uint16(b[146:]))
	anchored := b[24]&rootAnchored != 0
	b = b[rootFixedSize:]
	if anchored && len(b) >= rootAnchorSize {
		r.anchored = decodeRootAnchor(b[len(b)-rootAnchorSize:])
		b = b[:len(b)-rootAnchorSize]
	}
	if anchored != (r.anchored != nil) || count > maxPages || len(b) != count*pagePtrSize || r.capacity < 0 || r.nextSegment > host.MaxSegmentID {
		return root{}, fmt.Errorf("root with %d table pages: %w", count, ErrDamaged)
	}
	for ; len(b) > 0; b = b[pagePtrSize:] {
		r.pages = append(r.pages, pagePtr{
			segment:    host.SegmentID(binary.BigEndian.Uint64(b)),
			offset:     binary.BigEndian.Uint32(b[8:]),
			length:     binary.BigEndian.Uint32(b[12:]),
			generation: binary.BigEndian.Uint32(b[16:]),
			salt:       [32]byte(b[20:52]),
		})
	}
	return r, nil
}

package store

import (
	"encoding/binary"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/tree"
)

// Types of log records (docs/format.md, "Records"). A number is never reused.
const (
	recordPut     = 1 // key, value: the item has this value from here on
	recordDelete  = 2 // key: the item is gone from here on
	recordFrame   = 3 // a data frame of this batch, and whose bytes it holds
	recordSegment = 4 // a segment, introduced before anything refers to it
)

const (
	frameRecordSize   = 1 + 4 + 4 + 8 + 8
	segmentRecordSize = 1 + 8 + 1 + 4 + 32
)

// recordSizes are the fixed sizes by type.
var recordSizes = [8]int{
	recordPut:     1 + tree.KeySize + 2,
	recordDelete:  1 + tree.KeySize,
	recordFrame:   frameRecordSize,
	recordSegment: segmentRecordSize,
}

// frameRecord tells what a data frame was sealed for, so that cleaning finds
// whether it is still in use.
type frameRecord struct {
	offset uint32 // in the segment
	length uint32 // plaintext
	object uint64
	at     uint64 // offset in the object
}

// record is one decoded log record: exactly one field is set.
type record struct {
	change  *change
	frame   *frameRecord
	segment *segment
}

func (c change) append(b []byte) []byte {
	if c.value == nil {
		return c.key.Append(append(b, recordDelete))
	}
	b = c.key.Append(append(b, recordPut))
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.value)))
	return append(b, c.value...)
}

func (f frameRecord) append(b []byte) []byte {
	b = append(b, recordFrame)
	b = binary.BigEndian.AppendUint32(b, f.offset)
	b = binary.BigEndian.AppendUint32(b, f.length)
	b = binary.BigEndian.AppendUint64(b, f.object)
	return binary.BigEndian.AppendUint64(b, f.at)
}

func appendSegmentRecord(b []byte, g *segment) []byte {
	b = append(b, recordSegment)
	b = binary.BigEndian.AppendUint64(b, uint64(g.id))
	b = append(b, byte(g.kind))
	b = binary.BigEndian.AppendUint32(b, g.generation)
	return append(b, g.salt[:]...)
}

// parseRecords calls fn for each record of b, whose values alias b. It stops at
// the first error, which is ErrDamaged or what fn returned.
func parseRecords(b []byte, fn func(record) error) error {
	for len(b) > 0 {
		r, size, err := parseRecord(b)
		if err != nil {
			return err
		}
		if err := fn(r); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

func parseRecord(b []byte) (r record, size int, err error) {
	fixed := recordSizes[b[0]&7]
	if b[0] > recordSegment || fixed == 0 || len(b) < fixed {
		return r, 0, fmt.Errorf("log record of type %d, %d bytes left: %w", b[0], len(b), ErrDamaged)
	}
	switch b[0] {
	case recordPut:
		n := int(binary.BigEndian.Uint16(b[1+tree.KeySize:]))
		if n > tree.MaxValue || n > len(b)-fixed {
			return r, 0, fmt.Errorf("log record with a value of %d bytes: %w", n, ErrDamaged)
		}
		r.change = &change{tree.DecodeKey(b[1:]), b[fixed : fixed+n : fixed+n]}
		fixed += n
	case recordDelete:
		r.change = &change{key: tree.DecodeKey(b[1:])}
	case recordFrame:
		r.frame = &frameRecord{
			offset: binary.BigEndian.Uint32(b[1:]),
			length: binary.BigEndian.Uint32(b[5:]),
			object: binary.BigEndian.Uint64(b[9:]),
			at:     binary.BigEndian.Uint64(b[17:]),
		}
	case recordSegment:
		r.segment = &segment{
			id:         host.SegmentID(binary.BigEndian.Uint64(b[1:])),
			kind:       seal.Kind(b[9]),
			generation: binary.BigEndian.Uint32(b[10:]),
			salt:       [32]byte(b[14:46]),
		}
	}
	return r, fixed, nil
}

package store

import (
	"encoding/binary"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
)

// TypeExtent is the one item type the store knows. The item's key holds, as
// Sub, the offset in the object at which the extent ENDS, so that the first
// item at or after offset+1 is the one that covers offset. Its value is an
// encoded Extent.
const TypeExtent = 4

// MaxFrame is the most plaintext one data frame holds, in bytes.
const MaxFrame = 64 << 10

// ExtentSize is the length of an encoded Extent in bytes.
const ExtentSize = 24

// Extent is a run of Count plaintext bytes, starting at Start, of the data
// frame that lies at Offset in Segment and holds Length bytes of plaintext.
// Several extents may share a frame.
type Extent struct {
	Segment host.SegmentID
	Offset  uint32 // of the frame's first byte in its segment
	Length  uint32 // plaintext of the whole frame, 1..MaxFrame
	Start   uint32 // first byte of the run in the frame's plaintext
	Count   uint32 // length of the run, 1..Length-Start
}

// Append encodes e (docs/format.md, "Extent").
func (e Extent) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(e.Segment))
	b = binary.BigEndian.AppendUint32(b, e.Offset)
	b = binary.BigEndian.AppendUint32(b, e.Length)
	b = binary.BigEndian.AppendUint32(b, e.Start)
	return binary.BigEndian.AppendUint32(b, e.Count)
}

// ParseExtent checks and decodes the value of an extent item. ErrDamaged.
func ParseExtent(b []byte) (Extent, error) {
	if len(b) != ExtentSize {
		return Extent{}, fmt.Errorf("extent of %d bytes: %w", len(b), ErrDamaged)
	}
	e := Extent{
		Segment: host.SegmentID(binary.BigEndian.Uint64(b)),
		Offset:  binary.BigEndian.Uint32(b[8:]),
		Length:  binary.BigEndian.Uint32(b[12:]),
		Start:   binary.BigEndian.Uint32(b[16:]),
		Count:   binary.BigEndian.Uint32(b[20:]),
	}
	if !e.valid() {
		return Extent{}, fmt.Errorf("extent %+v: %w", e, ErrDamaged)
	}
	return e, nil
}

func (e Extent) valid() bool {
	return e.Segment > 0 && e.Segment <= host.MaxSegmentID &&
		e.Offset < host.MaxSegmentSize &&
		e.Length > 0 && e.Length <= MaxFrame &&
		e.Count > 0 && e.Start < e.Length && e.Count <= e.Length-e.Start
}

// Slice returns the part of e that starts off bytes into it and is count
// bytes long. The range must lie within e.
func (e Extent) Slice(off, count uint32) Extent {
	if count == 0 || off >= e.Count || count > e.Count-off {
		panic(fmt.Sprintf("store: slice %d+%d of extent of %d", off, count, e.Count))
	}
	e.Start += off
	e.Count = count
	return e
}

// occupies is what the extent counts for in the accounting of its segment.
func (e Extent) occupies() int64 { return int64(e.Count) + extentOverhead }

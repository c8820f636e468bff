// Package point knows the manifest of a point: what a volume was at one instant,
// in bytes (docs/format.md, "Manifest"). A host keeps it with the point, and a
// transfer begins with it.
//
// Parse takes nothing that is outside of a limit or could be read in two ways; it
// does not say that a volume opens. Whether what a manifest describes is authentic
// is found out by the enclave that opens it.
//
// Imported by hosts and by store/host/transfer. Imports store/host.
package point

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/coffer-fs/coffer/store/host"
)

// ErrManifest: bytes are not a manifest, or one that no host makes.
var ErrManifest = errors.New("not a manifest of a point")

const (
	magic = "coffpoin"
	// Version is that of the manifest's format.
	Version = 1

	fixedSize   = 8 + 2 + 2 + 16 + 16 + 8 + 8 + 4 + 4
	recordSize  = 2 + 4 // before name and value
	segmentSize = 16
	// MaxSize is that of the largest manifest, in bytes.
	MaxSize = fixedSize + host.MaxRecordName +
		host.MaxPointRecords*(recordSize+host.MaxRecordName+host.MaxRecordSize) + host.MaxPointSegments*segmentSize
)

// Segment is one segment of a manifest: its bytes From..Size are what is new
// since the point that the manifest is relative to.
type Segment struct {
	ID         host.SegmentID
	From, Size int64
}

// Manifest describes a point, whole or relative to an earlier one.
type Manifest struct {
	ID    host.PointID
	Since host.PointID // zero: it is whole
	Name  string
	Taken time.Time
	// Expires is for the host that keeps the point; a transfer has none.
	Expires time.Time
	Records map[string][]byte
	// Segments are all that the volume had, in the order of their numbers.
	Segments []Segment
}

// Of makes the manifest of a point, relative to an earlier one of the same volume
// unless that is nil.
func Of(c host.PointContents, since *host.PointContents) Manifest {
	m := Manifest{ID: c.Info.ID, Name: c.Info.Name, Taken: c.Info.Taken, Records: c.Records, Segments: make([]Segment, len(c.Segments))}
	type key struct {
		id   host.SegmentID
		mark uint64
	}
	before := map[key]int64{}
	if since != nil {
		m.Since = since.Info.ID
		for _, s := range since.Segments {
			before[key{s.ID, s.Mark}] = s.Size
		}
	}
	for i, s := range c.Segments {
		m.Segments[i] = Segment{ID: s.ID, From: min(before[key{s.ID, s.Mark}], s.Size), Size: s.Size}
	}
	return m
}

// Whole reports whether the manifest needs no earlier point.
func (m Manifest) Whole() bool { return m.Since == host.PointID{} }

// Bytes is how much of segments is new.
func (m Manifest) Bytes() (n int64) {
	for _, s := range m.Segments {
		n += s.Size - s.From
	}
	return n
}

// VolumeBytes is how large the segments are together.
func (m Manifest) VolumeBytes() (n int64) {
	for _, s := range m.Segments {
		n += s.Size
	}
	return n
}

// Append encodes m, which must be within the limits that Parse keeps.
func (m Manifest) Append(b []byte) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, Version)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Name)))
	b = append(b, m.ID[:]...)
	b = append(b, m.Since[:]...)
	b = binary.BigEndian.AppendUint64(b, nanos(m.Taken))
	b = binary.BigEndian.AppendUint64(b, nanos(m.Expires))
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Records)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Segments)))
	b = append(b, m.Name...)
	for _, name := range slices.Sorted(maps.Keys(m.Records)) {
		value := m.Records[name]
		b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
		b = append(b, name...)
		b = append(b, value...)
	}
	for _, s := range m.Segments {
		b = binary.BigEndian.AppendUint64(b, uint64(s.ID))
		b = binary.BigEndian.AppendUint32(b, uint32(s.From))
		b = binary.BigEndian.AppendUint32(b, uint32(s.Size))
	}
	return b
}

func nanos(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}

// Parse decodes a manifest, and takes exactly what Append makes.
func Parse(b []byte) (m Manifest, err error) {
	if len(b) > MaxSize || len(b) < fixedSize || string(b[:len(magic)]) != magic {
		return m, fmt.Errorf("%d bytes: %w", len(b), ErrManifest)
	}
	if v := binary.BigEndian.Uint16(b[8:]); v != Version {
		return m, fmt.Errorf("version %d, where %d is known: %w", v, Version, ErrManifest)
	}
	r := &reader{b: b[10:]}
	nameSize := int(r.u16())
	copy(m.ID[:], r.take(16))
	copy(m.Since[:], r.take(16))
	m.Taken, m.Expires = r.time(), r.time()
	records, segments := r.u32(), r.u32()
	if nameSize > host.MaxRecordName || records > host.MaxPointRecords || segments > host.MaxPointSegments {
		return Manifest{}, fmt.Errorf("name of %d bytes, %d records, %d segments: %w", nameSize, records, segments, ErrManifest)
	}
	m.Name = string(r.take(nameSize))
	if err = checkNames(m); err == nil {
		err = m.parseRecords(r, int(records))
	}
	if err == nil {
		err = m.parseSegments(r, int(segments))
	}
	if err == nil && (r.short || len(r.b) > 0) {
		err = errors.New("it is cut off, or goes on")
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return m, nil
}

func checkNames(m Manifest) error {
	if m.ID == (host.PointID{}) || m.ID == m.Since {
		return errors.New("it has no id of its own")
	}
	if !utf8.ValidString(m.Name) || m.Name == "" {
		return errors.New("it has no name")
	}
	return host.CheckPoint(host.PointOptions{Name: m.Name})
}

func (m *Manifest) parseRecords(r *reader, count int) error {
	m.Records = make(map[string][]byte, count)
	last := ""
	for range count {
		nameSize, size := int(r.u16()), int(r.u32())
		if nameSize > host.MaxRecordName || size > host.MaxRecordSize {
			return fmt.Errorf("a record of %d bytes", size)
		}
		name := string(r.take(nameSize))
		if err := host.CheckRecord(name, nil); err != nil {
			return err
		}
		if name <= last {
			return errors.New("records are not in order")
		}
		last = name
		m.Records[name] = slices.Clone(r.take(size))
	}
	return nil
}

func (m *Manifest) parseSegments(r *reader, count int) error {
	if len(r.b) != count*segmentSize {
		return errors.New("it is cut off, or goes on")
	}
	m.Segments = make([]Segment, count)
	last := host.SegmentID(0)
	for i := range m.Segments {
		s := Segment{host.SegmentID(r.u64()), int64(r.u32()), int64(r.u32())}
		switch {
		case s.ID <= last || s.ID > host.MaxSegmentID:
			return fmt.Errorf("segment %d follows segment %d", s.ID, last)
		case s.Size > host.MaxSegmentSize || s.From > s.Size:
			return fmt.Errorf("segment %d has bytes %d to %d", s.ID, s.From, s.Size)
		case s.From > 0 && m.Whole():
			return fmt.Errorf("segment %d begins at %d, in a manifest that is whole", s.ID, s.From)
		}
		last, m.Segments[i] = s.ID, s
	}
	return nil
}

// reader takes numbers from bytes. What is not there reads as zeros.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.short, r.b = true, nil
		return make([]byte, n)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) time() time.Time {
	n := r.u64()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n))
}

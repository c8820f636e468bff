package s3

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
)

const (
	entryMagic      = "coffs3e\x00"
	headMagic       = "coffs3h\x00"
	layoutVersion   = 1
	entryHeaderSize = 8 + 2 + 1 + 1 + 8 + 8 + 16 + 8 + 4 + 4
	sumSize         = sha256.Size
)

// kindOfEntry says what an entry of the journal is.
type kindOfEntry byte

const (
	entryChanges kindOfEntry = 1 // changes by the writer; none says that it is there
	entryEnd     kindOfEntry = 2 // the journal of this epoch ends here
)

// entry is one object of the journal (docs/s3.md, "Entry").
type entry struct {
	kind    kindOfEntry
	epoch   uint64
	index   uint64
	token   [16]byte // of who made it
	shipped uint64   // up to which local entry everything is in the store
	changes []change
	raw     []byte // the object
}

// kindOfChange numbers changes. A number is never reused.
type kindOfChange byte

const (
	changeCreate kindOfChange = 1 // the segment begins to be
	changeBytes  kindOfChange = 2 // these bytes of the payload continue the segment
	changeObject kindOfChange = 3 // that object continues it
	changeDelete kindOfChange = 4 // the segment is gone
	changeRecord kindOfChange = 5 // the record has this value
)

// change is one change. The zero fields do not belong to its kind.
type change struct {
	kind    kindOfChange
	segment host.SegmentID
	offset  uint32 // in the segment; capacity of changeCreate
	size    uint32
	data    []byte // of changeBytes
	at      place  // of changeObject
	name    string
	version version
	value   []byte
}

// version names a state of a record: the epoch and which change of it.
type version struct{ epoch, number uint64 }

func (v version) host() host.Version {
	return host.Version(fmt.Sprintf("%x-%x", v.epoch, v.number))
}

func (c change) append(b []byte) []byte {
	b = append(b, byte(c.kind))
	if c.kind == changeRecord {
		b = append(b, byte(len(c.name)))
		b = append(b, c.name...)
		b = binary.BigEndian.AppendUint64(b, c.version.epoch)
		b = binary.BigEndian.AppendUint64(b, c.version.number)
		b = binary.BigEndian.AppendUint32(b, uint32(len(c.value)))
		return append(b, c.value...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(c.segment))
	switch c.kind {
	case changeCreate:
		b = binary.BigEndian.AppendUint32(b, c.offset)
	case changeBytes, changeObject:
		b = binary.BigEndian.AppendUint32(b, c.offset)
		b = binary.BigEndian.AppendUint32(b, c.size)
	}
	if c.kind == changeObject {
		b = binary.BigEndian.AppendUint64(b, c.at.epoch)
		b = binary.BigEndian.AppendUint64(b, c.at.number)
	}
	return b
}

// decodeChange reads one change; payload are the bytes that are not taken yet.
func decodeChange(d *decoder, payload *decoder) (c change) {
	c.kind = kindOfChange(d.u8())
	if c.kind == changeRecord {
		c.name = string(d.take(int(d.u8())))
		c.version = version{d.u64(), d.u64()}
		c.value = d.take(int(min(d.u32(), maxMeta)))
		if host.CheckRecord(c.name, c.value) != nil {
			d.bad = true
		}
		return c
	}
	c.segment = host.SegmentID(d.u64())
	switch c.kind {
	case changeCreate:
		c.offset = d.u32()
		d.bad = d.bad || c.offset == 0 || c.offset > host.MaxSegmentSize
	case changeBytes, changeObject:
		c.offset, c.size = d.u32(), d.u32()
		d.bad = d.bad || c.size == 0 || c.size > partBytes
	case changeDelete:
	default:
		d.bad = true
	}
	if !d.bad && host.CheckSegment(c.segment, int64(c.offset), int(c.size)) != nil {
		d.bad = true
	}
	switch {
	case d.bad:
	case c.kind == changeBytes:
		c.data = payload.take(int(c.size))
	case c.kind == changeObject:
		c.at = place{kind: inData, epoch: d.u64(), number: d.u64()}
	}
	return c
}

// encode gives the bytes of an entry. The data of changeBytes is the payload, in
// order.
func (e *entry) encode() []byte {
	var meta []byte
	size := 0
	for _, c := range e.changes {
		meta = c.append(meta)
		size += len(c.data)
	}
	b := make([]byte, 0, entryHeaderSize+len(meta)+sumSize+size)
	b = append(b, entryMagic...)
	b = binary.BigEndian.AppendUint16(b, layoutVersion)
	b = append(b, byte(e.kind), 0)
	b = binary.BigEndian.AppendUint64(b, e.epoch)
	b = binary.BigEndian.AppendUint64(b, e.index)
	b = append(b, e.token[:]...)
	b = binary.BigEndian.AppendUint64(b, e.shipped)
	b = binary.BigEndian.AppendUint32(b, uint32(len(meta)))
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = append(b, meta...)
	sum := sha256.Sum256(b)
	b = append(b, sum[:]...)
	for _, c := range e.changes {
		b = append(b, c.data...)
	}
	return b
}

// parseEntry reads what is the entry of that place, and gives the changes the
// places of their bytes.
func parseEntry(b []byte, epoch, index uint64) (*entry, error) {
	what := fmt.Sprintf("entry %d of epoch %d", index, epoch)
	d := &decoder{b: b}
	magic, v := string(d.take(8)), d.u16()
	if !d.bad && magic == entryMagic && v != layoutVersion {
		return nil, fmt.Errorf("%s: version %d: %w", what, v, ErrFormat)
	}
	e := &entry{kind: kindOfEntry(d.u8()), raw: b}
	reserved := d.u8()
	e.epoch, e.index, e.token, e.shipped = d.u64(), d.u64(), d.id(), d.u64()
	metaSize, payloadSize := d.u32(), d.u32()
	if d.bad || magic != entryMagic || reserved != 0 || e.epoch != epoch || e.index != index ||
		e.kind != entryChanges && e.kind != entryEnd ||
		uint64(len(b)) != entryHeaderSize+uint64(metaSize)+sumSize+uint64(payloadSize) ||
		sha256.Sum256(b[:entryHeaderSize+metaSize]) != [sumSize]byte(b[entryHeaderSize+metaSize:]) {
		return nil, fmt.Errorf("%w: %s is damaged", ErrAnswer, what)
	}
	meta := &decoder{b: d.take(int(metaSize))}
	d.take(sumSize)
	payload := &decoder{b: d.b}
	for len(meta.b) > 0 && !meta.bad {
		c := decodeChange(meta, payload)
		if c.kind == changeBytes && !payload.bad {
			c.at = place{kind: inLog, epoch: epoch, number: index, offset: uint32(len(b) - len(payload.b) - len(c.data))}
		}
		e.changes = append(e.changes, c)
	}
	if err := meta.end(what); err != nil {
		return nil, err
	}
	return e, payload.end(what)
}

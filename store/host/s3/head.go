package s3

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
)

// Flags of a head.
const (
	flagHeld   = 1 // somebody writes the volume in this epoch
	flagLocal  = 2 // and acknowledges what is on its own disk only
	flagForget = 4 // what is deleted is to be gone: see host.Forgetter
)

// encodeHead gives the bytes of a head (docs/s3.md, "Head"). No two are equal.
func (s *state) encodeHead() []byte {
	var flags byte
	if s.held {
		flags |= flagHeld
	}
	if s.held && s.holder.local {
		flags |= flagLocal
	}
	if s.forgetting {
		flags |= flagForget
	}
	b := append([]byte(nil), headMagic...)
	b = binary.BigEndian.AppendUint16(b, layoutVersion)
	b = append(b, flags, 0)
	var nonce [16]byte
	rand.Read(nonce[:])
	b = append(b, nonce[:]...)
	b = binary.BigEndian.AppendUint64(b, s.epoch)
	b = binary.BigEndian.AppendUint64(b, s.next)
	b = binary.BigEndian.AppendUint64(b, s.shipped)
	b = append(b, s.holder.token[:]...)
	b = append(b, s.holder.home[:]...)
	b = append(b, s.holder.lease[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.holder.owner)))
	b = append(b, s.holder.owner...)
	b = append(b, byte(len(s.records)))
	for _, name := range slices.Sorted(maps.Keys(s.records)) {
		r := s.records[name]
		b = change{kind: changeRecord, name: name, version: r.version, value: r.value}.append(b)
	}
	b = binary.AppendUvarint(b, uint64(len(s.segments)))
	before := host.SegmentID(0)
	for _, id := range slices.Sorted(maps.Keys(s.segments)) {
		b = s.segments[id].append(b, before)
		before = id
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func (g *segment) append(b []byte, before host.SegmentID) []byte {
	b = binary.AppendUvarint(b, uint64(g.id-before))
	b = binary.AppendUvarint(b, uint64(g.capacity))
	b = binary.AppendUvarint(b, uint64(len(g.extents)))
	for _, e := range g.extents {
		b = append(b, byte(e.at.kind))
		for _, n := range []uint64{uint64(e.size), e.at.epoch, e.at.number, uint64(e.at.offset)} {
			b = binary.AppendUvarint(b, n)
		}
	}
	return b
}

// parseHead reads a head.
func parseHead(b []byte) (*state, error) {
	const what = "the head"
	if len(b) < sumSize {
		return nil, fmt.Errorf("%w: %s has %d bytes", ErrAnswer, what, len(b))
	}
	d := &decoder{b: b[:len(b)-sumSize]}
	magic, v := string(d.take(8)), d.u16()
	if !d.bad && magic == headMagic && v != layoutVersion {
		return nil, fmt.Errorf("%s: version %d: %w", what, v, ErrFormat)
	}
	flags, reserved := d.u8(), d.u8()
	if magic != headMagic || flags&^(flagHeld|flagLocal|flagForget) != 0 || reserved != 0 || sha256.Sum256(d.whole(b)) != [sumSize]byte(b[len(b)-sumSize:]) {
		return nil, fmt.Errorf("%w: %s is damaged", ErrAnswer, what)
	}
	s := newState()
	s.held, s.holder.local = flags&flagHeld != 0, flags&flagLocal != 0
	s.forgetting = flags&flagForget != 0
	d.take(16) // the nonce
	s.epoch, s.next, s.shipped = d.u64(), d.u64(), d.u64()
	s.holder.token, s.holder.home = d.id(), d.id()
	copy(s.holder.lease[:], d.take(len(s.holder.lease)))
	s.holder.owner = string(d.take(int(d.u16())))
	if len(s.holder.owner) > maxOwner {
		d.bad = true
	}
	for range d.u8() {
		c := decodeChange(d, &decoder{})
		if c.kind != changeRecord || len(s.records) >= maxRecords {
			d.bad = true
			break
		}
		s.records[c.name] = record{slices.Clone(c.value), c.version}
	}
	id := uint64(0)
	for range d.uvarint(maxSegments) {
		step := d.uvarint(uint64(host.MaxSegmentID) - id)
		id += step
		g := decodeSegment(d, host.SegmentID(id))
		if d.bad = d.bad || step == 0; d.bad {
			break
		}
		s.segments[g.id] = g
	}
	return s, d.end(what)
}

// whole is the head without its sum.
func (d *decoder) whole(b []byte) []byte { return b[:len(b)-sumSize] }

func decodeSegment(d *decoder, id host.SegmentID) *segment {
	g := &segment{id: id, capacity: uint32(d.uvarint(host.MaxSegmentSize))}
	count := d.uvarint(maxExtents)
	if count > uint64(len(d.b)) { // an extent has more bytes than one
		d.bad = true
		return g
	}
	g.extents = make([]extent, 0, count)
	for range count {
		e := extent{at: place{kind: kindOfPlace(d.u8())}}
		e.size = uint32(d.uvarint(host.MaxSegmentSize))
		e.at.epoch, e.at.number = d.uvarint(1<<64-1), d.uvarint(1<<64-1)
		e.at.offset = uint32(d.uvarint(maxEntry))
		if d.bad = d.bad || e.at.kind > inData || e.size == 0 || uint64(g.tail)+uint64(e.size) > uint64(g.capacity); d.bad {
			return g
		}
		g.tail += e.size
		g.extents = append(g.extents, e)
	}
	d.bad = d.bad || g.capacity == 0
	return g
}

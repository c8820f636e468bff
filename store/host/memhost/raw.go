package memhost

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/coffer-fs/coffer/store/host"
)

// The attacker's side: what is stored, past every rule. It works on a crashed
// host too, and obeys no limits.

// SegmentIDs lists the segments in ascending order.
func (h *Host) SegmentIDs() []host.SegmentID {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.ids()
}

// Segment returns a copy of what was written to a segment, up to its last
// written byte; nil if there is no such segment.
func (h *Host) Segment(id host.SegmentID) []byte {
	h.mu.RLock()
	defer h.mu.RUnlock()
	s := h.segments[id]
	if s == nil {
		return nil
	}
	p := make([]byte, s.written())
	s.read(p, 0)
	return p
}

// Kept returns a copy of everything that lies there of segments: the whole room of
// each, with what shows through where it was not written, and the spares.
func (h *Host) Kept() (rooms [][]byte) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, id := range h.ids() {
		rooms = append(rooms, h.segments[id].room())
	}
	for _, s := range h.spares {
		rooms = append(rooms, s.room())
	}
	return rooms
}

func (s *segment) room() []byte {
	whole := s.copy()
	whole.end = whole.capacity
	p := make([]byte, s.capacity)
	whole.read(p, 0)
	return p
}

// SetSegment replaces a segment, or adds one, by exactly these bytes: reads end
// where they end. A writer's appends to it are refused from then on.
func (h *Host) SetSegment(id host.SegmentID, p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removeSegment(id)
	size := int64(len(p))
	s := &segment{capacity: size, end: size}
	s.overwrite(0, bytes.Clone(p))
	h.segments[id] = s
	h.bytes += size
}

// RemoveSegment removes a segment, if it is there.
func (h *Host) RemoveSegment(id host.SegmentID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removeSegment(id)
}

// removeSegment also forgets what was pending about it. h.mu is held.
func (h *Host) removeSegment(id host.SegmentID) {
	if s := h.segments[id]; s != nil {
		h.bytes -= s.capacity
		delete(h.segments, id)
	}
	h.forget(func(e entry) bool { return e.Op != OpSwap && e.Segment == id })
}

// Overwrite replaces the bytes at off of a segment, within its capacity. It
// panics if there is no such place: the test is wrong, not the host.
func (h *Host) Overwrite(id host.SegmentID, off int64, p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.segments[id]
	if s == nil || off < 0 || off+int64(len(p)) > s.capacity {
		panic(fmt.Sprintf("memhost: overwrite of %d bytes at %d of segment %d", len(p), off, id))
	}
	s.overwrite(off, bytes.Clone(p))
	s.end = max(s.end, off+int64(len(p)))
}

// FlipBit inverts one bit of a segment.
func (h *Host) FlipBit(id host.SegmentID, off int64, bit uint) {
	var b [1]byte
	h.mu.RLock()
	if s := h.segments[id]; s != nil {
		s.read(b[:], off)
	}
	h.mu.RUnlock()
	b[0] ^= 1 << (bit & 7)
	h.Overwrite(id, off, b[:])
}

// RecordNames lists the records in ascending order.
func (h *Host) RecordNames() []string {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Sorted(maps.Keys(h.records))
}

// Record returns a copy of a record's value; nil if there is none.
func (h *Host) Record(name string) []byte {
	h.mu.RLock()
	defer h.mu.RUnlock()
	r, ok := h.records[name]
	if !ok {
		return nil
	}
	return append([]byte{}, r.value...)
}

// SetRecord replaces a record, or adds one, in a new version.
func (h *Host) SetRecord(name string, value []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.versions++
	h.records[name] = record{append([]byte{}, value...), host.Version(strconv.FormatUint(h.versions, 10))}
}

// RemoveRecord removes a record, if it is there.
func (h *Host) RemoveRecord(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.records, name)
}

// SetFree leaves room for so many bytes of new segments, as if others had taken the rest.
func (h *Host) SetFree(bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.options.LimitBytes = h.bytes + bytes
}

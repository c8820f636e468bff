package s3

import (
	"fmt"
	"maps"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
)

// state is what a volume is after so many entries of its journal. Recovery and
// writing change it by the same function, apply.
type state struct {
	epoch      uint64
	next       uint64 // index of the next entry
	held       bool
	holder     holder
	shipped    uint64
	forgetting bool
	records    map[string]record
	segments   map[host.SegmentID]*segment

	// recent are the entries whose bytes segments refer to.
	recent      map[entryKey][]byte
	recentBytes int64
}

// entryKey names an entry of the journal.
type entryKey struct{ epoch, index uint64 }

// holder is who writes the volume in an epoch.
type holder struct {
	token [16]byte // random, of this epoch
	home  [16]byte // of its directory, 0 if it has none
	lease [32]byte // hash of the token of whom a server held it for, or 0
	local bool     // it acknowledges what is on its own disk only
	owner string
}

type record struct {
	value   []byte
	version version
}

// segment is one as far as the store has it. It is replaced, not changed.
type segment struct {
	id       host.SegmentID
	capacity uint32
	tail     uint32
	extents  []extent // one behind the other, from 0 to tail
}

// extent is a run of a segment's bytes.
type extent struct {
	size uint32
	at   place
}

func newState() *state {
	return &state{
		records: make(map[string]record), segments: make(map[host.SegmentID]*segment), recent: make(map[entryKey][]byte),
	}
}

// clone is a state that changes apart from s.
func (s *state) clone() *state {
	c := *s
	c.records, c.segments, c.recent = maps.Clone(s.records), maps.Clone(s.segments), maps.Clone(s.recent)
	return &c
}

// apply makes the changes of the next entry. After an error the state is of no
// use. It returns the data objects that are not needed any more.
func (s *state) apply(e *entry) (free []place, err error) {
	if e.kind == entryEnd {
		s.held = false
		return nil, nil
	}
	s.next, s.shipped = e.index+1, max(s.shipped, e.shipped)
	used := false
	for _, c := range e.changes {
		objects, err := s.change(c)
		if err != nil {
			return nil, fmt.Errorf("entry %d of epoch %d: %w", e.index, e.epoch, err)
		}
		used = used || c.kind == changeBytes
		free = append(free, objects...)
	}
	if used {
		s.recent[entryKey{e.epoch, e.index}] = e.raw
		s.recentBytes += int64(len(e.raw))
	}
	return free, nil
}

func (s *state) change(c change) (free []place, err error) {
	g := s.segments[c.segment]
	switch c.kind {
	case changeRecord:
		if s.records[c.name].version == (version{}) && len(s.records) >= maxRecords {
			return nil, fmt.Errorf("%w: more than %d records", ErrAnswer, maxRecords)
		}
		s.records[c.name] = record{c.value, c.version}
	case changeCreate:
		if g != nil || len(s.segments) >= maxSegments {
			return nil, fmt.Errorf("%w: segment %d is there, or one too many", ErrAnswer, c.segment)
		}
		s.segments[c.segment] = &segment{id: c.segment, capacity: c.offset}
	case changeDelete:
		if g == nil {
			return nil, fmt.Errorf("%w: segment %d is not there", ErrAnswer, c.segment)
		}
		delete(s.segments, c.segment)
		return g.objects(), nil
	default:
		if g == nil || c.offset != g.tail || uint64(c.offset)+uint64(c.size) > uint64(g.capacity) || len(g.extents) >= maxExtents {
			return nil, fmt.Errorf("%w: segment %d does not go on at %d", ErrAnswer, c.segment, c.offset)
		}
		s.segments[c.segment] = g.extended(extent{c.size, c.at})
	}
	return nil, nil
}

// extended is the segment with one more extent.
func (g *segment) extended(e extent) *segment {
	n := *g
	n.tail += e.size
	if last := len(g.extents) - 1; last >= 0 {
		if l := g.extents[last]; l.at.plus(l.size) == e.at {
			n.extents = slices.Clone(g.extents)
			n.extents[last].size += e.size
			return &n
		}
	}
	n.extents = append(slices.Clip(g.extents), e)
	return &n
}

// objects are the data objects of a segment, which no other segment has.
func (g *segment) objects() (at []place) {
	for _, e := range g.extents {
		if e.at.kind == inData {
			at = append(at, e.at)
		}
	}
	return at
}

// forget drops the entries that no segment refers to.
func (s *state) forget() {
	used := make(map[entryKey]bool)
	for _, g := range s.segments {
		for _, e := range g.extents {
			if e.at.kind == inLog {
				used[entryKey{e.at.epoch, e.at.number}] = true
			}
		}
	}
	for k, raw := range s.recent {
		if !used[k] {
			delete(s.recent, k)
			s.recentBytes -= int64(len(raw))
		}
	}
}

// recall copies bytes behind a place in a recent entry.
func (s *state) recall(at place, off uint32, p []byte) bool {
	raw, ok := s.recent[entryKey{at.epoch, at.number}]
	from := uint64(at.offset) + uint64(off)
	if at.kind != inLog || !ok || from+uint64(len(p)) > uint64(len(raw)) {
		return false
	}
	copy(p, raw[from:])
	return true
}

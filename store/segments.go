package store

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// extentOverhead is what an extent counts for in its segment beyond its bytes:
// the frame's tag and its records in the log, which cleaning writes again.
const extentOverhead = 96

// segment is one segment of the volume. All fields but sk are guarded by
// Store.mu once the segment is in the table; id, kind, generation and salt
// never change.
type segment struct {
	id         host.SegmentID
	kind       seal.Kind
	generation uint32
	salt       [32]byte

	slot   int   // in the table
	live   int64 // bytes that the tree refers to
	pins   int   // flushes that sealed into it and have not ended
	doomed bool  // to be deleted; no state that can be opened needs it
	moving bool  // being emptied: no page of the table stays in it
	moved  bool  // the next checkpoint will have written its nodes elsewhere
	stuck  bool  // a damaged frame keeps it from being emptied
	sk     atomic.Pointer[seal.SegmentKey]
}

// table is the set of segments, in slots so that a page of it changes only
// when one of its segments does.
type table struct {
	byID  map[host.SegmentID]*segment
	slots []*segment // nil where free
	free  []int      // free slots, in no order
	pages []page     // as written last
}

// page is one written page of the table.
type page struct {
	ptr   pagePtr
	plain []byte // what is written there, to see whether it changed
}

// pagePtr points to a page. It carries what opens the segment the page lies
// in, because the table that would otherwise tell is what is being read.
type pagePtr struct {
	segment    host.SegmentID
	offset     uint32
	length     uint32 // of the frame
	generation uint32
	salt       [32]byte
}

const (
	pageSegments = 256 // slots of a page
	entrySize    = 8 + 1 + 4 + 32 + 8
	pagePtrSize  = 8 + 4 + 4 + 4 + 32
	// maxSegments bounds the table: a volume of 8 TiB, and what opening it when
	// it is full may take.
	maxSegments = 8<<40/host.MaxSegmentSize + pageSegments
	maxPages    = maxSegments / pageSegments
)

func newTable() *table { return &table{byID: map[host.SegmentID]*segment{}} }

// add puts g into the table.
func (t *table) add(g *segment) {
	if n := len(t.free); n > 0 {
		g.slot, t.free = t.free[n-1], t.free[:n-1]
		t.slots[g.slot] = g
	} else {
		g.slot = len(t.slots)
		t.slots = append(t.slots, g)
	}
	t.byID[g.id] = g
}

func (t *table) remove(g *segment) {
	delete(t.byID, g.id)
	t.slots[g.slot] = nil
	t.free = append(t.free, g.slot)
}

// entry is a segment as it stands in a page.
type entry struct {
	id         host.SegmentID
	kind       seal.Kind
	generation uint32
	salt       [32]byte
	live       int64
}

func (g *segment) entry() entry { return entry{g.id, g.kind, g.generation, g.salt, g.live} }

// freeze returns the present entries by slot; the zero entry is a free slot.
func (t *table) freeze() []entry {
	es := make([]entry, len(t.slots))
	for i, g := range t.slots {
		if g != nil && !g.doomed {
			es[i] = g.entry()
		}
	}
	return es
}

// pinned returns the segments that a Flush keeps.
func (t *table) pinned() map[*segment]bool {
	m := map[*segment]bool{}
	for _, g := range t.byID {
		if g.pins > 0 {
			m[g] = true
		}
	}
	return m
}

// encodePage encodes the entries of one page (docs/format.md, "Segment
// table").
func encodePage(es []entry) []byte {
	b := make([]byte, 0, len(es)*entrySize)
	for _, e := range es {
		b = binary.BigEndian.AppendUint64(b, uint64(e.id))
		b = append(b, byte(e.kind))
		b = binary.BigEndian.AppendUint32(b, e.generation)
		b = append(b, e.salt[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(e.live))
	}
	return b
}

// parsePage decodes a page. ErrDamaged.
func parsePage(b []byte) ([]entry, error) {
	if len(b)%entrySize != 0 || len(b) == 0 || len(b) > pageSegments*entrySize {
		return nil, fmt.Errorf("page of %d bytes: %w", len(b), ErrDamaged)
	}
	var es []entry
	for ; len(b) > 0; b = b[entrySize:] {
		e := entry{
			id:         host.SegmentID(binary.BigEndian.Uint64(b)),
			kind:       seal.Kind(b[8]),
			generation: binary.BigEndian.Uint32(b[9:]),
			salt:       [32]byte(b[13:45]),
			live:       int64(binary.BigEndian.Uint64(b[45:])),
		}
		bad := e.id > host.MaxSegmentID || e.live < 0 || e.id != 0 && e.kind != seal.KindLog && e.kind != seal.KindNode
		if bad {
			return nil, fmt.Errorf("entry of segment %d: %w", e.id, ErrDamaged)
		}
		es = append(es, e)
	}
	return es, nil
}

// load fills the table from the pages of a root, in their order. ErrDamaged.
func (t *table) load(pages []page) error {
	for i, p := range pages {
		es, err := parsePage(p.plain)
		if err != nil {
			return fmt.Errorf("segment table: page %d: %w", i, err)
		}
		full := i < len(pages)-1
		if full && len(es) != pageSegments {
			return fmt.Errorf("segment table: page %d has %d entries: %w", i, len(es), ErrDamaged)
		}
		for _, e := range es {
			if e.id == 0 {
				t.free = append(t.free, len(t.slots))
				t.slots = append(t.slots, nil)
				continue
			}
			if t.byID[e.id] != nil {
				return fmt.Errorf("segment table: segment %d stands twice: %w", e.id, ErrDamaged)
			}
			g := &segment{id: e.id, kind: e.kind, generation: e.generation, salt: e.salt, live: e.live, slot: len(t.slots)}
			t.slots = append(t.slots, g)
			t.byID[g.id] = g
		}
	}
	t.pages = pages
	return nil
}

// holdsPage reports whether a written page lies in segment id.
func (t *table) holdsPage(id host.SegmentID) bool {
	return slices.ContainsFunc(t.pages, func(p page) bool { return p.ptr.segment == id })
}

// key returns the segment's key, deriving it at first use.
func (s *Store) key(g *segment) (seal.SegmentKey, error) {
	if k := g.sk.Load(); k != nil {
		return *k, nil
	}
	vk, ok := (*s.ring.Load())[g.generation]
	if !ok {
		return seal.SegmentKey{}, fmt.Errorf("segment %d: no key of generation %d: %w", g.id, g.generation, ErrWrongKey)
	}
	k := seal.NewSegmentKey(vk, s.volume, uint64(g.id), g.salt)
	g.sk.Store(&k)
	s.keyed.add(g)
	return k, nil
}

package memhost

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
)

// Clone returns a copy of machine and disk as an attacker would take it: what
// is stored, synced or not, and no writer, hook or trace. The copies share bytes
// but not fate.
func (h *Host) Clone() *Host {
	h.mu.RLock()
	defer h.mu.RUnlock()
	c, twins := h.copy()
	c.journal = make([]entry, len(h.journal))
	for i, e := range h.journal {
		e.segment = twins[e.segment]
		c.journal[i] = e
	}
	return c
}

// Kill kills the process and not the machine: this host is dead, and the
// returned one has everything that was done. What was not durable still is not,
// so that a crash later may take from it what the next process has seen.
func (h *Host) Kill() *Host {
	h.mu.Lock()
	h.dead = true
	h.mu.Unlock()
	return h.Clone()
}

// copy returns a live host with copies of all segments and an empty journal,
// and which copy belongs to which segment, deleted ones included. h.mu is held.
func (h *Host) copy() (*Host, map[*segment]*segment) {
	c := New(h.options)
	c.records = maps.Clone(h.records)
	c.spares = slices.Clone(h.spares)
	c.bytes, c.versions, c.forgets, c.lease = h.bytes, h.versions, h.forgets, h.lease
	twins := make(map[*segment]*segment, len(h.segments))
	for id, s := range h.segments {
		twins[s] = s.copy()
		c.segments[id] = twins[s]
	}
	for _, e := range h.journal {
		if e.segment != nil && twins[e.segment] == nil {
			twins[e.segment] = e.segment.copy()
		}
	}
	return c, twins
}

// ids lists the segments in order. h.mu is held.
func (h *Host) ids() []host.SegmentID {
	return slices.SortedFunc(maps.Keys(h.segments), cmp.Compare)
}

// disturb turns some of the unwritten space to junk. h.mu is held, or h is new.
func (h *Host) disturb(rng *rand.Rand) {
	for _, id := range h.ids() {
		junk := ground{junk: rng.Uint64() | 1}
		if s := h.segments[id]; s.ground == (ground{}) && junk.junk&2 != 0 {
			s.ground = junk
		}
	}
}

// settle puts sums and ends right after segments came, went and shrank. h is
// new.
func (h *Host) settle() {
	h.bytes = 0
	for _, s := range h.segments {
		h.bytes += s.capacity
		if h.options.GrowingEnds {
			s.end = min(s.end, s.written())
		}
	}
}

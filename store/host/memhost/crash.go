package memhost

import (
	"math/rand/v2"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
)

// SectorSize is what a disk writes whole or not at all, in bytes.
const SectorSize = 512

// maxPendingDeletes bounds the deletes that a crash may still undo.
const maxPendingDeletes = 16

// Pending is a change that is not durable yet.
type Pending struct {
	Op      Op             // OpCreate, OpAppend, OpDelete, or OpSwap if cut during it
	Segment host.SegmentID // of all but OpSwap
	Name    string         // of OpSwap
	Off     int64          // of OpAppend
	Size    int64          // of OpAppend
}

// entry is a Pending with what is needed to undo it.
type entry struct {
	Pending
	segment *segment // created, appended to, or deleted
	before  record   // of a swap; no version if there was none
}

// Fate is what a crash does to one pending change.
type Fate uint8

const (
	// Either lets the seed choose.
	Either Fate = iota
	// Keep: it is found after the crash.
	Keep
	// Drop: it is as if it had not been asked for. A dropped delete leaves
	// the segment in place.
	Drop
	// Tear keeps a prefix of an append, up to the end of a sector that the
	// seed chooses. Changes that cannot tear choose between Keep and Drop.
	Tear
	// Shred keeps some sectors of an append and not others, in no order.
	Shred
)

// CrashOptions say what survives. The zero value lets seed 0 choose everything.
type CrashOptions struct {
	// Seed decides what Decide leaves open, and what unwritten space shows.
	Seed uint64
	// Decide gives the fate of the i-th of the Pending changes. nil means
	// Either for all.
	Decide func(i int, p Pending) Fate
	// Outcome, if it is not nil, says what is found, in place of Decide: one of
	// the Outcomes of Pending.
	Outcome Outcome
	// KeepGround leaves unwritten space as it is, instead of letting some of
	// it turn to junk.
	KeepGround bool
}

// KeepAll is a Decide: everything reached the disk in time.
func KeepAll(int, Pending) Fate { return Keep }

// DropAll is a Decide: nothing survives that was not made durable.
func DropAll(int, Pending) Fate { return Drop }

// note adds to the journal. h.mu is held.
func (h *Host) note(e entry) {
	if h.options.Forgetful {
		return
	}
	h.journal = append(h.journal, e)
	if e.Op == OpDelete {
		h.finishDeletes(maxPendingDeletes)
	}
}

// finishDeletes makes deletes final, the oldest first, until so many are left.
// With its delete, all that is pending about a segment goes. h.mu is held.
func (h *Host) finishDeletes(left int) {
	var gone []*segment
	for _, e := range h.journal {
		if e.Op == OpDelete {
			gone = append(gone, e.segment)
		}
	}
	if len(gone) <= left {
		return
	}
	gone = gone[:len(gone)-left]
	h.forget(func(e entry) bool { return slices.Contains(gone, e.segment) })
}

// forget drops entries that are durable, or of no account any more. The journal is replaced, since a Clone may share it. h.mu is held.
func (h *Host) forget(durable func(entry) bool) {
	kept := make([]entry, 0, len(h.journal))
	for _, e := range h.journal {
		if !durable(e) {
			kept = append(kept, e)
		}
	}
	h.journal = kept
}

// Pending lists what a crash now would decide about, oldest first.
func (h *Host) Pending() []Pending {
	h.mu.RLock()
	defer h.mu.RUnlock()
	list := make([]Pending, len(h.journal))
	for i, e := range h.journal {
		list[i] = e.Pending
	}
	return list
}

// Crash kills this host and returns one that holds what is found afterwards,
// with no writer, no hook and no trace. It may be called again, with other
// options, for another outcome of the same accident.
func (h *Host) Crash(o CrashOptions) *Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead = true
	after, twins := h.copy()
	after.journal = nil
	rng := rand.New(rand.NewPCG(o.Seed, 0xc0ffe4))
	// Backwards, so that of two changes to one name the older one is undone last.
	fates := h.fates(o, rng)
	for i, e := range slices.Backward(h.journal) {
		if o.Outcome != nil && e.Op == OpAppend {
			leave(twins[e.segment], e.Off, e.Size, o.Outcome[i])
			continue
		}
		after.undo(e, fates[i], twins[e.segment], rng)
	}
	if !o.KeepGround {
		after.disturb(rng)
	}
	after.settle()
	return after
}

// fates asks o for the fate of every entry and resolves Either.
func (h *Host) fates(o CrashOptions, rng *rand.Rand) []Fate {
	fates := make([]Fate, len(h.journal))
	for i, e := range h.journal {
		switch {
		case o.Outcome != nil && o.Outcome[i][0]:
			fates[i] = Keep
		case o.Outcome != nil:
			fates[i] = Drop
		case o.Decide != nil:
			fates[i] = o.Decide(i, e.Pending)
		}
		tears := e.Op == OpAppend
		switch {
		case fates[i] == Either && tears:
			fates[i] = Keep + Fate(rng.IntN(4))
		case fates[i] == Either, !tears && fates[i] > Drop:
			fates[i] = Keep + Fate(rng.IntN(2))
		}
	}
	return fates
}

// undo takes from h what the fate takes of e. twin is h's copy of e's segment.
func (h *Host) undo(e entry, f Fate, twin *segment, rng *rand.Rand) {
	switch {
	case e.Op == OpAppend:
		tear(twin, e.Off, e.Size, f, rng)
	case f == Keep:
	case e.Op == OpSwap && e.before.version == "":
		delete(h.records, e.Name)
	case e.Op == OpSwap:
		h.records[e.Name] = e.before
	case e.Op == OpCreate && h.segments[e.Segment] == twin:
		delete(h.segments, e.Segment)
	case e.Op == OpDelete && h.segments[e.Segment] == nil:
		h.segments[e.Segment] = twin
	}
}

package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// RecoverOptions say how to recover a volume's records.
type RecoverOptions struct {
	// Options are those of opening the volume: their Unlocker must be set, and
	// what they demand of a volume is demanded of the recovered one.
	Options
	// Root is the sequence of the root to go back to. Default: the newest, and
	// no other.
	Root uint64
	// Volume is the identity of the volume, if segments of several lie there.
	Volume [16]byte
	// AcceptRollback takes the newest state that there is although the anchor
	// speaks against it, or does not answer. Opening it needs an approval then.
	AcceptRollback bool
}

// Recovery is a header and a root for a volume that lost its own, and what is
// known of them.
type Recovery struct {
	Volume [16]byte
	Header []byte // to be the record "header"
	Root   []byte // to be the record "root"
	// Segments must be made durable before the records are put on the host:
	// what was written last may be known to the host's memory alone.
	Segments []host.SegmentID
	Summary  RecoverSummary
}

// RecoverSummary says what was found.
type RecoverSummary struct {
	HeaderSequence uint64
	RootSequence   uint64
	RootPlace      string // where the root lay
	Session        uint64
	Batches        int    // of the log behind the root
	LastBatch      uint64 // sequence of the last one
	Nodes          int64
	Damaged        int64      // of nodes; more than 0 only of a root that was asked for
	SnapshotNodes  int64      // of nodes that snapshots alone need: how many are damaged
	Hurt           []Snapshot // that need these, oldest first
	ListLost       error      // why it is not known which snapshots there are
	Anchored       bool       // an anchor vouches for it
	Verdict        error      // what the anchor says against it, which was accepted
	Newer          []uint64   // roots that were found and are not part of it
	Unread         int        // reads that failed while roots were looked for: newer ones may lie there
	UnreadFirst    error      // how the first of them failed
	Segments       int        // that the volume refers to
	Missing        []host.SegmentID
	Unknown        int // segments of the host that are not part of the volume
}

// Recover finds the newest state of a volume without its records: in its
// segments, each of which begins with the header, and some of which hold copies
// of roots. It changes nothing; Records says what to put on the host.
//
// With an anchor it is the newest state that the anchor vouches for; what a host
// brings of other times, or of a fork, is left. Without one the root must be the
// newest that is there: that no newer one was ever there can't be proven then, since
// the host may have taken away what was written last. Either way it must be whole:
// all nodes of the present state open, and nothing durable is missing behind it. Nodes
// that snapshots alone need may be damaged. The new header has the newest slot only,
// so that a migration that was going on goes on with the new key.
//
// ErrNoVolume, ErrWrongKey, ErrAmbiguous, ErrDamaged if there is no such root, and
// what the anchor may have against it, as with Open.
func Recover(ctx context.Context, r host.Reader, o RecoverOptions) (Recovery, error) {
	rec, err := recoverRecords(ctx, r, o)
	if err != nil {
		return rec, fmt.Errorf("recover volume: %w", err)
	}
	return rec, nil
}

// recoverRecords
//
//  1. finds headers and roots
//  2. chooses one of each, by the anchor if there is one
//  3. makes a header that is newer than all
//  4. opens the volume with both, as Open would
func recoverRecords(ctx context.Context, r host.Reader, o RecoverOptions) (rec Recovery, err error) {
	w, err := findWreck(ctx, r, o.Options, o.Volume)
	if err != nil {
		return rec, err
	}
	defer w.close()
	if rec, err = w.recover(o); err == nil {
		err = ctx.Err() // a read that it cut off is not one that failed
	}
	return rec, w.unread.tell(err)
}

func (w *wreck) recover(o RecoverOptions) (Recovery, error) {
	if o.Root == 0 {
		if rec, ok, err := w.recoverAnchored(o); ok || err != nil {
			return rec, err
		}
	}
	c, err := w.chooseFor(o.Root)
	if err != nil {
		return Recovery{}, err
	}
	return w.recoverAs(c, o)
}

// recoverAs recovers the volume with one root. What the anchor has against it is the
// error, or the summary's Verdict if that is accepted.
func (w *wreck) recoverAs(c *candidate, o RecoverOptions) (rec Recovery, err error) {
	rec = Recovery{Volume: w.volume, Root: c.sealed}
	if rec.Header, err = w.newHeader(c); err != nil {
		return rec, err
	}
	s, verdict, err := rec.open(w.ctx, w.reader, o)
	if err != nil {
		return rec, err
	}
	rec.Summary = w.summary(c, s)
	rec.Summary.Anchored, rec.Summary.Verdict = s.Anchored(), verdict
	for _, i := range w.listed {
		if s.table.byID[i.ID] != nil {
			rec.Segments = append(rec.Segments, i.ID)
		}
	}
	return rec, s.Close()
}

// chooseFor is choose, or the root that was asked for; under a key that is the
// newest.
func (w *wreck) chooseFor(sequence uint64) (*candidate, error) {
	var c *candidate
	var err error
	if sequence == 0 {
		c, _, err = w.choose()
	} else if at := slices.IndexFunc(w.roots, func(r foundRoot) bool { return r.sequence == sequence }); at < 0 {
		err = fmt.Errorf("root %d: %w", sequence, ErrNoRoot)
	} else if c, err = w.try(w.roots[at]); err == nil {
		err = asDamage(c.broken)
	}
	switch {
	case err != nil:
		return nil, err
	case sequence == 0 && w.locked > c.sequence:
		return nil, fmt.Errorf("root %d is sealed under a newer key than this one: %w", w.locked, ErrWrongKey)
	case c.headerSequence > w.lastHeader():
		return nil, fmt.Errorf("root %d goes with header %d or later, and this key opens none after %d: %w",
			c.sequence, c.headerSequence, w.lastHeader(), ErrWrongKey)
	}
	return c, nil
}

// newHeader makes a header with the newest slot, newer than all that were found.
func (w *wreck) newHeader(c *candidate) ([]byte, error) {
	h := w.newest()
	if h.secret.Generation != w.ring.Newest() {
		return nil, fmt.Errorf("key generation %d: %w", w.ring.Newest(), ErrWrongKey)
	}
	ring := maps.Clone(w.ring)
	for g := range ring {
		if g != w.ring.Newest() && !c.needs(g) {
			delete(ring, g)
		}
	}
	b, err := seal.BuildHeader(w.volume, h.SegmentShift, w.lastHeader()+1, []seal.SlotSecret{h.secret}, ring)
	return b, sealError(err)
}

// needs reports whether anything of generation g is part of the volume.
func (c *candidate) needs(g uint32) bool {
	if c.generation == g || c.log.generation == g {
		return true
	}
	for _, s := range c.store.table.byID {
		if s.generation == g {
			return true
		}
	}
	return slices.ContainsFunc(c.batches, func(b found) bool {
		introduced := false
		_ = parseRecords(b.records, func(r record) error { // they were parsed before
			introduced = introduced || r.segment != nil && r.segment.generation == g
			return nil
		})
		return introduced
	})
}

// open opens the volume with the recovered records, read-only, and asks its anchor.
func (rec Recovery) open(ctx context.Context, r host.Reader, o RecoverOptions) (s *Store, verdict, err error) {
	so := o.Options.withDefaults()
	so.ReadOnly = true
	records := overlaid{r, map[string][]byte{recordHeader: rec.Header, recordRoot: rec.Root}}
	s = newStore(records, so)
	err = s.open(ctx)
	if first := errors.Is(err, ErrAnchorFirstUse); first || o.AcceptRollback && speaksAgainst(err) {
		if !first { // else whether it gets one is for whoever opens it
			verdict = err
		}
		so.Anchor, so.DetachAnchor = nil, true
		s = newStore(records, so)
		err = s.open(ctx)
	}
	if err != nil {
		return nil, nil, asDamage(err)
	}
	s.startWorker()
	return s, verdict, nil
}

// Records are the records to be put on the host, by name.
func (rec Recovery) Records() map[string][]byte {
	return map[string][]byte{recordHeader: rec.Header, recordRoot: rec.Root}
}

// Install puts the records on a host that keeps records still; the header comes
// last, so that there is no volume before both are there.
func (rec Recovery) Install(ctx context.Context, w host.Writer) error {
	if err := w.Sync(ctx, rec.Segments...); err != nil {
		return fmt.Errorf("install recovered records: %w", err)
	}
	for _, name := range []string{recordRoot, recordHeader} {
		old, err := w.Get(ctx, name)
		if err != nil && !isNotFound(err) {
			return fmt.Errorf("install recovered records: %w", err)
		}
		if _, err := w.Swap(ctx, name, old.Version, rec.Records()[name]); err != nil {
			return fmt.Errorf("install recovered records: %w", err)
		}
	}
	return nil
}

func (w *wreck) summary(c *candidate, s *Store) RecoverSummary {
	sum := RecoverSummary{
		HeaderSequence: s.headerSequence, RootSequence: c.sequence, RootPlace: c.place(), Session: c.session,
		Batches: len(c.batches), LastBatch: s.log.sequence, Nodes: c.nodes, Damaged: c.damaged, Segments: len(s.table.byID),
		Unread: w.unread.count, UnreadFirst: w.unread.first, SnapshotNodes: c.kept.nodes, Hurt: s.hurt(c.kept.layers), ListLost: s.SnapshotsLost(),
	}
	for _, r := range w.roots {
		if r.sequence > c.sequence && !c.leadsTo(r.root) {
			sum.Newer = append(sum.Newer, r.sequence)
		}
	}
	here := map[host.SegmentID]bool{}
	for _, i := range w.listed {
		here[i.ID] = true
		if s.table.byID[i.ID] == nil {
			sum.Unknown++
		}
	}
	for id, g := range s.table.byID {
		if !here[id] && g.live > 0 {
			sum.Missing = append(sum.Missing, id)
		}
	}
	slices.Sort(sum.Missing)
	return sum
}

// overlaid is a host with other records.
type overlaid struct {
	host.Reader
	records map[string][]byte
}

// Get implements host.Reader.
func (o overlaid) Get(ctx context.Context, name string) (host.Record, error) {
	if b, ok := o.records[name]; ok {
		return host.Record{Value: b, Version: "recovered"}, nil
	}
	rec, err := o.Reader.Get(ctx, name)
	if err != nil && !errors.Is(err, host.ErrNotFound) {
		return rec, fmt.Errorf("%w: %w", host.ErrNotFound, err)
	}
	return rec, err
}

package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/tree"
)

// SalvageOptions say how to open what is left of a volume.
type SalvageOptions struct {
	// Options are those of opening the volume: their Unlocker must be set.
	Options
	// Root is the sequence of the root to go back to. Default: the newest that
	// leads anywhere.
	Root uint64
	// Volume is the identity of the volume, if segments of several lie there.
	Volume [16]byte
	// Unproven takes segments at their own word of which the page of the segment
	// table is lost. Danger: a host that kept a fork of the volume can put segments of
	// that in, and what is read is then a mix of two histories, in one file too. By
	// default what is in them is lost.
	Unproven bool
}

// Wreck is what can still be read of a volume that may be damaged anywhere. Its
// methods are used by one goroutine.
type Wreck struct {
	w       *wreck
	s       *Store
	view    *tree.View
	changes []change // of the log behind the root, in order of keys
	summary WreckSummary

	snapshots snapshotSet // that are left in the list
}

// WreckSummary says what a Wreck is based on, and what is lost of it at large.
type WreckSummary struct {
	Volume       [16]byte
	RootSequence uint64
	RootPlace    string
	Skipped      []string // newer roots, and why they were not taken
	Batches      int      // of the log behind the root
	LogLost      string   // why the log ends early; empty if it does not
	PagesLost    int      // of the segment table
	Unread       int      // reads that failed while roots were looked for: newer ones may lie there
	UnreadFirst  error    // how the first of them failed
	// Unproven are segments that only their own preamble speaks for, because the page
	// of the table that had their salt is lost. Their frames were written by the
	// volume's owner; but a host that kept a fork of the volume could have put a
	// segment of that in.
	Unproven []host.SegmentID
	Taken    bool // whether these were used, as SalvageOptions.Unproven asks for
}

// OpenWreck opens what is left of a volume on r, which it does not change. It needs
// a header that the key opens, a root, and the root's topmost node. ErrNoVolume,
// ErrWrongKey, ErrAmbiguous, ErrNoRoot, or ErrDamaged if there is nothing to begin
// with.
func OpenWreck(ctx context.Context, r host.Reader, o SalvageOptions) (*Wreck, error) {
	w, err := findWreck(ctx, r, o.Options, o.Volume)
	if err != nil {
		return nil, fmt.Errorf("salvage volume: %w", err)
	}
	k := &Wreck{w: w}
	k.summary.Volume, k.summary.Taken = w.volume, o.Unproven
	k.summary.Unread, k.summary.UnreadFirst = w.unread.count, w.unread.first
	if err := k.begin(o.Root); err != nil {
		w.close()
		return nil, fmt.Errorf("salvage volume: %w", w.unread.tell(err))
	}
	return k, nil
}

// Close destroys the keys.
func (k *Wreck) Close() {
	for _, vk := range *k.s.ring.Load() {
		vk.Destroy()
	}
	k.w.close()
}

// Summary says what the wreck is based on.
func (k *Wreck) Summary() WreckSummary { return k.summary }

// begin finds the root to begin with: the one that Recover takes; if there is
// none, the newest whose topmost node can be read.
func (k *Wreck) begin(sequence uint64) error {
	roots := k.w.roots
	if sequence != 0 {
		roots = slices.DeleteFunc(slices.Clone(roots), func(r foundRoot) bool { return r.sequence != sequence })
		if len(roots) == 0 {
			return fmt.Errorf("root %d: %w", sequence, ErrNoRoot)
		}
	} else if c, _, err := k.w.choose(); err == nil {
		roots = []foundRoot{c.foundRoot}
	} else if isOver(err) {
		return err
	}
	for _, r := range roots {
		err := k.use(r)
		if err == nil || isOver(err) {
			return err
		}
		why := fmt.Sprintf("root %d, from %s: %v", r.sequence, r.place(), err)
		if n := len(k.summary.Unproven); n > 0 && !k.summary.Taken {
			why += fmt.Sprintf("; of its segment table %d pages are lost, and %d segments may be its own by their own word", k.summary.PagesLost, n)
		}
		k.summary.Skipped = append(k.summary.Skipped, why)
	}
	if len(roots) == 0 {
		return fmt.Errorf("no root is left that this key opens: %w", ErrDamaged)
	}
	return fmt.Errorf("none of %d roots leads anywhere, the newest: %s: %w", len(roots), k.summary.Skipped[0], ErrDamaged)
}

// use begins with one root.
func (k *Wreck) use(r foundRoot) error {
	s, err := k.w.store()
	if err != nil {
		return err
	}
	k.s = s
	k.summary.RootSequence, k.summary.RootPlace = r.sequence, r.place()
	k.summary.PagesLost, k.summary.Unproven, k.summary.LogLost = 0, nil, ""
	s.root, s.capacity, s.nextSegment = r.root, r.capacity, r.nextSegment
	k.table(r.root)
	if s.tree, err = tree.Open(s.loadNode, s.options.NodeCacheBytes, r.tree, r.level); err != nil {
		return asDamage(err)
	}
	k.view = s.tree.View(k.w.ctx)
	if err := k.log(); err != nil {
		return err
	}
	k.findUnproven()
	if _, err := s.loadNode(k.w.ctx, r.tree); err != nil {
		return fmt.Errorf("the topmost tree node: %w", err)
	}
	return k.loadSnapshots()
}

// table reads what is left of the segment table.
func (k *Wreck) table(r root) {
	for _, p := range r.pages {
		plain, err := k.s.readPage(k.w.ctx, p)
		var es []entry
		if err == nil {
			es, err = parsePage(plain)
		}
		if err != nil {
			k.summary.PagesLost++
		}
		for _, e := range es {
			k.add(e.id, &segment{id: e.id, kind: e.kind, generation: e.generation, salt: e.salt, live: e.live})
		}
	}
	for _, p := range r.pages {
		k.add(p.segment, &segment{id: p.segment, kind: seal.KindNode, generation: p.generation, salt: p.salt})
	}
	k.add(r.log.segment, &segment{id: r.log.segment, kind: seal.KindLog, generation: r.log.generation, salt: r.log.salt})
}

// add puts a segment into the table, unless it is there.
func (k *Wreck) add(id host.SegmentID, g *segment) {
	if id != 0 && k.s.table.byID[id] == nil {
		k.s.table.add(g)
	}
}

// findUnproven notes the segments that a lost page may have had, and takes them up if
// that was asked for.
func (k *Wreck) findUnproven() {
	if k.summary.PagesLost == 0 {
		return
	}
	for id, g := range k.w.claims {
		if id >= k.s.root.nextSegment || k.s.table.byID[id] != nil {
			continue
		}
		k.summary.Unproven = append(k.summary.Unproven, id)
		if k.summary.Taken {
			k.add(id, &segment{id: id, kind: g.kind, generation: g.generation, salt: g.salt})
		}
	}
	slices.Sort(k.summary.Unproven)
}

// log reads the changes of the log behind the root, as far as it goes. Batches
// that recovery would drop because their data is incomplete are kept: what of their
// data does not open is found when it is read.
func (k *Wreck) log() error {
	k.changes, k.summary.Batches = nil, 0
	var batches []found
	if !k.s.root.clean {
		var err error
		if batches, err = k.s.followLog(k.w.ctx); isOver(err) {
			return err
		} else if err != nil {
			k.summary.LogLost = fmt.Sprintf("after batch %d: %v", k.s.root.log.sequence+uint64(len(batches)), err)
		}
	}
	latest := map[Key][]byte{}
	for _, b := range batches {
		err := parseRecords(b.records, func(r record) error {
			switch {
			case r.segment != nil:
				k.add(r.segment.id, r.segment)
			case r.change != nil:
				latest[r.change.key] = bytes.Clone(r.change.value)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	k.summary.Batches = len(batches)
	for key, value := range latest {
		k.changes = append(k.changes, change{key, value})
	}
	slices.SortFunc(k.changes, func(a, b change) int { return a.key.Compare(b.key) })
	return nil
}

// LostItems is a part of the map that can't be read: whatever items of [From, To)
// there were.
type LostItems struct {
	From, To Key
	Damage   Damage
}

// Scan calls fn for each item of [from, to) that can be read, in order of keys,
// until it returns false or an error; and lost for each part of it that can't. The
// log's changes are among the items, in lost parts too.
func (k *Wreck) Scan(ctx context.Context, from, to Key, fn func(k Key, value []byte) (more bool, err error), lost func(LostItems) error) error {
	at, _ := slices.BinarySearchFunc(k.changes, from, func(c change, k Key) int { return c.key.Compare(k) })
	var fnErr error
	more := true
	visit := func(key Key, v []byte) {
		if more {
			more, fnErr = fn(key, v)
			more = more && fnErr == nil
		}
	}
	// changed visits the log's changes before end, or up to it, and reports
	// whether there is one at it.
	changed := func(end Key, within bool) (hidden bool) {
		for ; more && at < len(k.changes); at++ {
			c := k.changes[at]
			if order := c.key.Compare(end); order > 0 || order == 0 && !within {
				break
			} else if order == 0 {
				hidden = true
			}
			if c.value != nil {
				visit(c.key, c.value)
			}
		}
		return hidden
	}
	err := k.view.ScanPast(from, to, func(key Key, v []byte) bool {
		if !changed(key, true) && more {
			visit(key, v)
		}
		return more
	}, func(l tree.Lost) error {
		if isOver(l.Err) || ctx.Err() != nil {
			return cmp.Or(ctx.Err(), l.Err)
		}
		changed(l.From, false)
		if fnErr != nil {
			return fnErr
		}
		p := l.Place.Ptr
		return lost(LostItems{l.From, l.To, Damage{PartNode, l.From, p.Segment, p.Offset, p.Length, asDamage(l.Err)}})
	})
	if err == nil && fnErr == nil && more {
		changed(to, false)
	}
	return cmp.Or(fnErr, err, ctx.Err())
}

// Get returns the value of an item; ErrDamaged if it was or may have been in a part
// that is lost.
func (k *Wreck) Get(ctx context.Context, key Key) (value []byte, ok bool, err error) {
	if i, found := slices.BinarySearchFunc(k.changes, key, func(c change, k Key) int { return c.key.Compare(k) }); found {
		return k.changes[i].value, k.changes[i].value != nil, nil
	}
	end := key
	end.Sub++
	err = k.Scan(ctx, key, end, func(_ Key, v []byte) (bool, error) {
		value, ok = bytes.Clone(v), true
		return false, nil
	}, func(l LostItems) error { return cmp.Or(l.Damage.Err, ErrDamaged) })
	return value, ok, err
}

// Read fills the pieces, and returns what is wrong with each. What does not come beside
// others is asked for once more alone; what the host gave once is kept.
func (k *Wreck) Read(ctx context.Context, reads []Read) ([]error, error) {
	errs := make([]error, len(reads))
	k.s.readEach(ctx, reads, errs)
	for i := range reads {
		if errs[i] != nil {
			errs[i] = asDamage(k.s.Read(ctx, reads[i:i+1]))
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return errs, nil
}

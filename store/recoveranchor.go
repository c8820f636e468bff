package store

import (
	"cmp"
	"errors"
	"slices"

	"github.com/coffer-fs/coffer/store/tree"
)

// Recovering a volume that has an anchor: of the roots that are left, the anchor says
// which one is the volume's.

// speaksAgainst reports whether err is an anchor's, or about there being none.
func speaksAgainst(err error) bool {
	return slices.ContainsFunc([]error{
		ErrRolledBack, ErrForked, ErrAnchorLost, ErrAnchorMissing, ErrAnchorOther, ErrAnchorUnavailable,
	}, func(is error) bool { return errors.Is(err, is) })
}

// recoverAnchored recovers the volume with the newest root that is whole and for which
// the anchor vouches, or with an older one that leads to the same state if snapshots
// have lost less of that. ok is false if there is none, or no anchor: then it is for the
// newest root to say why.
func (w *wreck) recoverAnchored(o RecoverOptions) (rec Recovery, ok bool, err error) {
	if o.Anchor == nil {
		return rec, false, nil
	}
	now, err := o.Anchor.Read(w.ctx, w.volume)
	if err != nil {
		return rec, false, w.ctx.Err() // opening the newest one asks again, and tells
	}
	tried := 0
	var first, best *candidate // of those that it vouches for: the newest, and what is taken
	for _, r := range w.roots {
		if !r.mayHold(now) {
			continue
		}
		if tried++; tried > maxTried {
			break
		}
		c, err := w.try(r)
		if err != nil {
			return rec, false, err
		}
		if !c.whole() || c.headerSequence > w.lastHeader() {
			continue
		}
		if best != nil && (c.kept.nodes >= best.kept.nodes || !c.standsInFor(first)) {
			continue
		}
		found, err := w.recoverAs(c, RecoverOptions{Options: o.Options})
		if isOver(err) {
			return found, true, err
		}
		if err == nil {
			if rec, best = found, c; first == nil {
				first = c
			}
			if best.kept.nodes == 0 {
				break
			}
			continue
		}
		w.options.Logger.Info("root is not what the anchor knows", "root", r.sequence, "place", r.place(), "error", err)
	}
	return rec, best != nil, nil
}

// mayHold reports whether the volume with this root may hold the point that the
// anchor has: which rule of docs/format.md, "Anchor", might apply.
func (r foundRoot) mayHold(now AnchorState) bool {
	if r.anchored == nil {
		return false
	}
	return now == r.anchored.confirmed || now == r.anchored.pending || now.Root == r.sequence || now.Root+1 == r.sequence
}

// keptDamage is damage of nodes that snapshots alone need.
type keptDamage struct {
	nodes  int64
	layers map[layer]bool // that the nodes may have been of
}

// add takes note of a damaged node.
func (d *keptDamage) add(p tree.Place) {
	d.nodes++
	if d.layers == nil {
		d.layers = map[layer]bool{}
	}
	for l, last := layersOf(p.Key, p.End); l <= last && l <= MaxSnapshots; l++ {
		d.layers[l] = true
	}
}

// layersOf returns the first and the last layer of which keys are in [from, end).
func layersOf(from, end Key) (first, last layer) {
	first, _, _ = splitKey(from)
	last, _, _ = splitKey(end)
	if last > first && end == last.first() {
		last--
	}
	return first, last
}

// hurt are the snapshots that may need what is damaged of layers: those whose layers
// they are, and older ones, which look there too.
func (s *Store) hurt(layers map[layer]bool) (list []Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := -1
	for i, p := range s.snapshots.all {
		if layers[p.layer] {
			last = i
		}
	}
	for _, p := range s.snapshots.all[:last+1] {
		if !p.deleting {
			list = append(list, p.public())
		}
	}
	slices.SortFunc(list, func(a, b Snapshot) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

package store

import (
	"context"

	"github.com/coffer-fs/coffer/store/tree"
)

// HitPart is what damage hits, of one state of the volume.
type HitPart struct {
	// Snapshot is the state: nil is the present one. A snapshot's own part may be
	// needed by older ones too, and the present state's by all.
	Snapshot *Snapshot
	// First and Last are the objects that may be hit. In a damaged tree node there
	// may have been items of any between.
	First, Last uint64
}

// HitParts tells what a damaged frame holds, or held: for a data frame the object that
// it is of, for a tree node all that it may have been about. Of a page of the segment
// table that is nothing.
func (s *Store) HitParts(ctx context.Context, d Damage) (parts []HitPart, err error) {
	from, end := d.Key, d.Key
	switch d.Part {
	case PartPage:
		return nil, nil
	case PartNode:
		err = s.view(ctx, func(v *tree.View) (*Tx, error) { return &Tx{base: viewReader{v}, own: true}, nil }, func(tx *Tx) error {
			a, b, ok, err := tx.base.(viewReader).v.Range(tree.Ptr{Segment: d.Segment, Offset: d.Offset, Length: d.Length}, d.Key)
			if ok {
				from, end = a, b
			}
			return asDamage(err)
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	first, last := layersOf(from, end)
	for l := first; l <= min(last, MaxSnapshots); l++ {
		part := HitPart{First: 0, Last: MaxObject}
		if l == first {
			part.First = from.Object & MaxObject
		}
		if l == last && end.Object>>objectBits == uint64(l) {
			part.Last = end.Object & MaxObject
			if part.Last > part.First && end.Type == 0 && end.Sub == 0 {
				part.Last--
			}
		}
		if l == 0 {
			parts = append(parts, part)
		} else if p := s.layerOwner(l); p != nil {
			part.Snapshot = p
			parts = append(parts, part)
		}
	}
	return parts, err
}

// layerOwner is the snapshot of a layer, nil if it is being deleted or there is none.
// Callers hold mu.
func (s *Store) layerOwner(l layer) *Snapshot {
	i := s.snapshots.find(func(p *snapshot) bool { return p.layer == l })
	if i < 0 {
		return nil
	}
	p := s.snapshots.all[i].public()
	return &p
}

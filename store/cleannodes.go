package store

import (
	"context"
	"errors"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/tree"
)

// maxTouch is how many nodes are looked for at once.
const maxTouch = 4096

var errEnough = errors.New("store: internal: enough found")

// emptyNodes has the nodes in these segments, and the pages of the table, written
// elsewhere by the next checkpoint. Callers hold cleanMu.
func (s *Store) emptyNodes(ctx context.Context, ids map[host.SegmentID]bool) error {
	s.mu.Lock()
	for id := range ids {
		if g := s.table.byID[id]; g != nil {
			g.moving = true
		}
	}
	s.mu.Unlock()
	for {
		places, err := s.placesIn(ctx, ids)
		if err != nil {
			return err
		}
		if len(places) == 0 {
			s.setMoved(ids)
			return nil
		}
		for _, p := range places {
			if err := s.touch(ctx, p); errors.Is(err, ErrDamaged) {
				s.setStuck(s.segment(p.Ptr.Segment), err)
				delete(ids, p.Ptr.Segment)
			} else if err != nil {
				return err
			}
		}
	}
}

// setMoved notes that nothing of the present state is left in these segments.
func (s *Store) setMoved(ids map[host.SegmentID]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range ids {
		if g := s.table.byID[id]; g != nil {
			g.moved = true
		}
	}
}

// placesIn finds nodes that lie in these segments.
func (s *Store) placesIn(ctx context.Context, ids map[host.SegmentID]bool) ([]tree.Place, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	v, tick := s.tree.View(ctx), s.tick
	s.views[tick]++
	s.mu.Unlock()
	defer s.endView(tick)
	var places []tree.Place
	err := v.Places(func(p tree.Place) error {
		if ids[p.Ptr.Segment] {
			places = append(places, p)
		}
		if len(places) == maxTouch {
			return errEnough
		}
		return ctx.Err()
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return places, asDamage(err)
}

// touch has the node at p written again, if it is still there.
func (s *Store) touch(ctx context.Context, p tree.Place) error {
	return s.attempt(ctx, func(v *tree.View) error { return s.tryTouch(v, p) })
}

// tryTouch makes one attempt. Callers hold mu.
func (s *Store) tryTouch(v *tree.View, p tree.Place) error {
	there, err := v.Reach(p)
	if err != nil || !there {
		return err
	}
	if s.tree.DirtyBytes() > s.maxDirty() {
		return errWait{s.Checkpoint}
	}
	if len(s.views) > 0 {
		s.tree.Unshare()
	}
	s.tree.Touch(v, p)
	s.kickIfDue()
	return nil
}

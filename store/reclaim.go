package store

import (
	"context"
	"fmt"

	"github.com/coffer-fs/coffer/store/seal"
)

// reclaim makes room for a segment, or says that there is none to be made.
func (s *Store) reclaim(ctx context.Context, class spaceClass) error {
	if class == spaceCleaning {
		return s.reclaimDead(ctx) // the cleaner can't wait for itself
	}
	s.reclaimMu.Lock()
	defer s.reclaimMu.Unlock()
	if s.hasRoom(class) {
		return nil // made by someone else meanwhile
	}
	for {
		if s.reclaimDead(ctx) == nil {
			return nil
		}
		if err := s.Err(); err != nil {
			return err
		}
		if err := s.cleanBest(ctx); err != nil {
			return err
		}
	}
}

// hasRoom reports whether a segment of the class could be made.
func (s *Store) hasRoom(class spaceClass) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.countSegments() < s.limitSegments(class)
}

// reclaimDead deletes segments in which nothing lives. ErrFull if there are
// none.
func (s *Store) reclaimDead(ctx context.Context) error {
	s.mu.Lock()
	err := s.usable()
	dead, before := s.deadSegments(), s.deleted
	count := len(s.table.byID)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if dead > 0 {
		if err := s.Checkpoint(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted > before {
		return nil
	}
	return fmt.Errorf("all %d segments are in use: %w", count, ErrFull)
}

// deadSegments counts the segments that the next checkpoint will free. Callers
// hold mu.
func (s *Store) deadSegments() int {
	n := 0
	for _, g := range s.table.byID {
		if s.dead(g) {
			n++
		}
	}
	return n
}

// dead reports whether the next checkpoint will free g. Callers hold mu.
func (s *Store) dead(g *segment) bool {
	idle := g.live == 0 && g.pins == 0 && !g.doomed && g != s.log.seg && g != s.nodes.seg
	return idle && (g.kind == seal.KindLog || g.moving || !s.table.holdsPage(g.id))
}

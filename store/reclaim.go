package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coffer-fs/coffer/store/seal"
)

// reclaim makes room for a class: for the next log segment if that is wanted, and
// otherwise for the open one to be written on. ErrFull if it can't.
func (s *Store) reclaim(ctx context.Context, class spaceClass, next bool) error {
	if class == spaceCleaning {
		return s.reclaimDead(ctx) // the cleaner can't wait for itself
	}
	s.reclaimMu.Lock()
	defer s.reclaimMu.Unlock()
	defer s.cleans()()
	s.countForced(class, next)
	for range maxReclaimTries {
		before := s.deletedSoFar()
		more, err := s.cleanStep(ctx, s.roomFor(class, next), gainAtNeed)
		if errors.Is(err, ErrFull) && (s.deletedSoFar() != before || s.waitView(ctx)) {
			continue // others make room too, and take it
		}
		if err != nil || !more {
			return err
		}
	}
	return fmt.Errorf("%d times emptying a segment made no room: %w", maxReclaimTries, ErrFull)
}

// maxViewWait bounds how long a full volume waits for Views.
const maxViewWait = 30 * time.Second

// waitView waits for a View to end that keeps segments in which nothing lives any
// more, and reports whether there was one.
func (s *Store) waitView(ctx context.Context) bool {
	s.mu.Lock()
	oldest := s.oldestView()
	kept := slices.ContainsFunc(s.graves, func(v grave) bool { return v.tick > oldest })
	count := len(s.graves)
	ended := s.waitRelease()
	s.mu.Unlock()
	if !kept {
		return count > 0 // it ended just now
	}
	wait, stop := context.WithTimeout(ctx, maxViewWait)
	defer stop()
	select {
	case <-ended:
		return true
	case <-wait.Done():
		return false
	}
}

// waitRelease returns a channel that is closed when the oldest View or a flush
// ends. Callers hold mu.
func (s *Store) waitRelease() <-chan struct{} {
	if s.released == nil {
		s.released = make(chan struct{})
	}
	return s.released
}

// maxReclaimTries bounds how many segments are emptied for one.
const maxReclaimTries = 256

func (s *Store) deletedSoFar() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deleted
}

// roomFor is how many segments there may be for a class to have room.
func (s *Store) roomFor(class spaceClass, next bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := s.limitSegments(class)
	if next && s.log.next == nil {
		most--
	}
	return most
}

func (s *Store) hasAtMost(segments int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.countSegments() <= segments
}

// reclaimDead deletes segments in which nothing lives. ErrFull if there are
// none.
func (s *Store) reclaimDead(ctx context.Context) error {
	if count, err := s.reap(ctx); err != nil || count > 0 {
		return err
	}
	s.mu.Lock()
	dead, before := s.deadSegments(), s.deleted
	count := len(s.table.byID)
	s.mu.Unlock()
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
	idle := (g.live == 0 || g.moved) && g.pins == 0 && !g.doomed && g != s.log.seg && g != s.nodes.seg
	return idle && (g.kind == seal.KindLog || g.moving || !s.table.holdsPage(g.id))
}

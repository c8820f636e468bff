package store

import (
	"context"
	"errors"
)

// The background cleaner keeps segments free, so that whoever writes finds room
// and need not make it.

// kickCleaner wakes the cleaner if it has anything to do. Callers hold mu.
func (s *Store) kickCleaner() {
	if s.freeSegments() >= s.lowWater() {
		return
	}
	select {
	case s.cleanKicks <- struct{}{}:
	default:
	}
}

// freeSegments is how many segments could be made for new data. Callers hold mu.
func (s *Store) freeSegments() int { return s.limitSegments(spaceUser) - s.countSegments() }

// lowWater is the number of free segments at which cleaning begins, and highWater
// that at which it ends. Callers hold mu.
func (s *Store) lowWater() int  { return max(1, s.totalSegments()/24) }
func (s *Store) highWater() int { return s.lowWater() + max(2, s.totalSegments()/24) }

// cleaner is the goroutine.
func (s *Store) cleaner(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.cleanKicks:
		}
		s.cleanInTime(ctx)
	}
}

// cleanInTime cleans until there are enough free segments, or nothing is left that
// is worth it.
func (s *Store) cleanInTime(ctx context.Context) {
	defer s.cleans()()
	most := s.roomInTime()
	for more := true; more; {
		var err error
		more, err = s.cleanStep(ctx, most, gainInTime)
		if err != nil && !errors.Is(err, ErrFull) && ctx.Err() == nil && s.Err() == nil {
			s.logger.Warn("clean", "error", err)
		}
		more = more && err == nil && ctx.Err() == nil
	}
}

// cleanStep deletes segments that are empty, if there are any, or else empties
// one. It reports whether there may be more than so many segments still. ErrFull if
// there is nothing to be done.
func (s *Store) cleanStep(ctx context.Context, most int, gain int64) (more bool, err error) {
	if s.hasAtMost(most) {
		return false, nil
	}
	if count, err := s.reap(ctx); count > 0 || err != nil {
		return true, err
	}
	if s.enoughEmptied() {
		return true, s.reclaimDead(ctx)
	}
	err = s.cleanBest(ctx, most, gain)
	if errors.Is(err, ErrFull) && s.emptied() > 0 {
		err = s.reclaimDead(ctx)
	}
	return true, err
}

// emptied is how many segments wait for a checkpoint to be deleted.
func (s *Store) emptied() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deadSegments()
}

// enoughEmptied reports whether as many segments wait for a checkpoint as may, that they
// alone need.
func (s *Store) enoughEmptied() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deadSegments() >= max(1, s.totalSegments()/32)
}

// roomInTime is how many segments there may be for cleaning in time to have come to
// its end.
func (s *Store) roomInTime() int {
	most := s.roomFor(spaceUser, true)
	s.mu.Lock()
	defer s.mu.Unlock()
	return most - s.highWater()
}

package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/store/seal"
)

// ErrTooSmall is why a volume is not made smaller.
type ErrTooSmall struct {
	Wanted int64 // capacity
	Used   int64 // bytes in use
	Needed int64 // the least capacity that holds them
}

func (e *ErrTooSmall) Error() string {
	return fmt.Sprintf("%d bytes are too few: %d are in use, which takes a volume of at least %d bytes", e.Wanted, e.Used, e.Needed)
}

// maxGrown is how many segments a volume may be made to have: their size is fixed
// when the volume is made. It leaves the table room for what goes beyond the limit
// for a while.
const maxGrown = maxSegments - pageSegments

// Resize sets the size limit of the volume, durably, while it is used. It may be at
// most that of any volume, or as many segments as the table holds. What is in use
// must fit: *ErrTooSmall. If it is stopped while it makes the volume smaller, the new
// limit holds, and cleaning goes on towards it.
func (s *Store) Resize(ctx context.Context, capacity int64) error {
	if err := s.resize(ctx, capacity); err != nil {
		return fmt.Errorf("resize: %w", err)
	}
	if err := s.anchorNow(ctx); err != nil {
		return fmt.Errorf("resize: %w", err)
	}
	return nil
}

func (s *Store) resize(ctx context.Context, capacity int64) error {
	if err := checkCapacity(capacity); err != nil {
		return err
	}
	if most := maxGrown * s.segmentSize; capacity > most {
		return fmt.Errorf("%d bytes, but this volume, with segments of %d bytes, can have %d: %w", capacity, s.segmentSize, most, ErrTooLarge)
	}
	if capacity < minTotalSegments*s.segmentSize {
		return &ErrTooSmall{Wanted: capacity, Needed: minTotalSegments * s.segmentSize}
	}
	if err := s.setCapacity(ctx, capacity); err != nil {
		return err
	}
	for {
		more, err := s.cleanStep(ctx, s.totalSegmentsNow(), gainAtNeed)
		switch {
		case errors.Is(err, ErrFull) || err == nil && !more:
			return nil // what Views keep is deleted later
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// minTotalSegments is how many segments the smallest volume has.
const minTotalSegments = MinCapacity >> seal.MinSegmentShift

// setCapacity makes a new limit durable, or leaves the old one.
func (s *Store) setCapacity(ctx context.Context, capacity int64) error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	s.mu.Lock()
	old := s.capacity
	err := s.usable()
	if err == nil {
		s.capacity = capacity
		if used := s.usedBytes(); used > s.roomForData() && capacity < old {
			err = &ErrTooSmall{Wanted: capacity, Used: used, Needed: s.capacityFor(used)}
		}
	}
	if err != nil {
		s.capacity = old
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := s.checkpointLocked(ctx, kindUsual); err != nil {
		s.mu.Lock()
		s.capacity = old
		s.mu.Unlock()
		return err
	}
	return nil
}

// capacityFor is the least capacity that holds so much data. Callers hold mu.
func (s *Store) capacityFor(used int64) int64 {
	old := s.capacity
	defer func() { s.capacity = old }()
	s.capacity = minTotalSegments * s.segmentSize
	for used > s.roomForData() {
		s.capacity += s.segmentSize
	}
	return s.capacity
}

func (s *Store) totalSegmentsNow() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totalSegments()
}

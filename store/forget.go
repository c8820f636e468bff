package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
)

// forget has the host forget what was deleted and replaced so far, if it is one that
// keeps anything of it. With more it goes on so: nothing that is deleted from here on
// is kept, nor its room given to new segments, whose ends it would lie in.
func (s *Store) forget(ctx context.Context, more bool) error {
	f, ok := s.host.(host.Forgetter)
	if !ok {
		return nil
	}
	if err := f.Forget(ctx, more); err != nil {
		return fmt.Errorf("have the host forget: %w", err)
	}
	return nil
}

// beginForgetting is forget when there is time until nothing may be left any more.
func (s *Store) beginForgetting(ctx context.Context) error {
	err := s.forget(ctx, true)
	if errors.Is(err, host.ErrHeld) {
		s.logger.Warn("a migration can't end while something keeps what the volume was", "error", err)
		return nil
	}
	return err
}

// goOnForgetting is for a session that begins where another one ended between two
// keys, or had just let go of the old one.
func (s *Store) goOnForgetting(ctx context.Context) error {
	if len(*s.ring.Load()) > 1 {
		return s.beginForgetting(ctx)
	}
	if err := s.FinishForgetting(ctx); !errors.Is(err, host.ErrHeld) {
		return err
	}
	return nil // DropOldGenerations has said so
}

// FinishForgetting has the host forget what was left when an old key was dropped, if it
// has not yet. host.ErrHeld if something keeps it.
func (s *Store) FinishForgetting(ctx context.Context) error {
	f, ok := s.host.(host.Forgetter)
	if !ok || !f.Forgetting() || len(*s.ring.Load()) > 1 {
		return nil
	}
	return s.forget(ctx, false)
}

// deleteStrays deletes the segments that are not in the volume: deletes that failed,
// or that a crash undid. ErrUnfinished if there are many, which only a host makes up.
func (s *Store) deleteStrays(ctx context.Context) error {
	// So that none is being made.
	s.prepareMu.Lock()
	defer s.prepareMu.Unlock()
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	if err := s.Err(); err != nil {
		return err
	}
	listed, err := s.host.Segments(ctx)
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	left := maxOrphans
	for _, i := range listed {
		if s.isKnown(i.ID) {
			continue
		}
		if left--; left < 0 {
			return fmt.Errorf("the host lists more than %d segments that are not in the volume: %w", maxOrphans, ErrUnfinished)
		}
		if err := s.host.Delete(ctx, i.ID); err != nil && !isNotFound(err) {
			return fmt.Errorf("delete segment %d: %w", i.ID, err)
		}
	}
	return nil
}

// isKnown reports whether a segment is in the volume, or ready to be.
func (s *Store) isKnown(id host.SegmentID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.byID[id] != nil || s.log.next != nil && s.log.next.id == id
}

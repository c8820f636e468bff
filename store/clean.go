package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// Emptying a segment writes again, elsewhere, what still lives in it, so that
// the checkpoint after it deletes the segment. It consists of ordinary updates
// and checkpoints: a crash in its middle leaves nothing to be tidied up.

// cleanBest empties the segment that is best emptied next, if there are more than so
// many still. ErrFull if there is none
// of which so much is dead.
func (s *Store) cleanBest(ctx context.Context, most int, gain int64) error {
	s.cleanMu.Lock()
	defer s.cleanMu.Unlock()
	if s.hasAtMost(most) {
		return nil // another one made room meanwhile
	}
	s.mu.Lock()
	g, count := s.victim(gain), len(s.table.byID)
	s.mu.Unlock()
	if g == nil {
		return fmt.Errorf("all %d segments are in use: %w", count, ErrFull)
	}
	return s.empty(ctx, g, nil)
}

// empty moves everything out of g. What is damaged stays, and marks g as stuck.
// between, which may be nil, is called after each piece of a log segment with the
// bytes that were copied; it may let go of cleanMu meanwhile. Callers hold cleanMu.
func (s *Store) empty(ctx context.Context, g *segment, between betweenFunc) error {
	err := s.beginEmptying(ctx)
	switch {
	case err != nil:
	case g.kind == seal.KindLog:
		err = s.emptyLog(ctx, g, between)
	default:
		err = s.emptyNodes(ctx, map[host.SegmentID]bool{g.id: true})
	}
	if err != nil {
		return fmt.Errorf("empty %v segment %d: %w", g.kind, g.id, err)
	}
	return nil
}

// maxLent is how many segments emptying one may take beyond the limit: one for what
// lives in it, and one because others may take the rest of the open one.
const maxLent = 2

// beginEmptying makes sure that there is room to empty a segment. What was emptied
// before is deleted first if there are many.
func (s *Store) beginEmptying(ctx context.Context) error {
	s.mu.Lock()
	full := s.countSegments() >= s.limitSegments(spaceFreeing) && s.deadSegments() > 0
	s.mu.Unlock()
	if full {
		if err := s.reclaimDead(ctx); err != nil && !errors.Is(err, ErrFull) {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lent = maxLent
	return nil
}

// betweenFunc is called between two pieces of work.
type betweenFunc func(ctx context.Context, bytes int64) error

// emptyLog copies the live extents of g into the open log. Callers hold cleanMu.
func (s *Store) emptyLog(ctx context.Context, g *segment, between betweenFunc) error {
	if !s.pin(g) {
		return nil
	}
	defer s.unpin(g)
	if err := s.drain(ctx); err != nil { // its last batches may be in memory still
		return err
	}
	c := &copier{s: s, seg: g, copied: s.gaining(g), between: between}
	err := s.walkFrames(ctx, g, func(frames []frameRecord) error { return c.copyFrames(ctx, frames) })
	if err != nil {
		return err
	}
	if s.lives(g) {
		// The batches are damaged, or do not tell of all extents.
		return c.copyScanned(ctx)
	}
	return nil
}

// pin keeps g while it is being emptied, and reports whether there is anything
// to be done.
func (s *Store) pin(g *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.doomed || g.stuck || g.live == 0 {
		return false
	}
	g.pins++
	return true
}

func (s *Store) unpin(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.pins--; g.pins == 0 {
		s.release() // who re-encrypts may wait for it
	}
}

// lives reports whether something in g is left to be moved.
func (s *Store) lives(g *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return g.live > 0 && !g.stuck
}

// setStuck notes that a frame of g is damaged: it stays where it is, and g with
// it, until another session tries again.
func (s *Store) setStuck(g *segment, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g != nil && !g.stuck { // it may be gone by now
		g.stuck = true
		s.logger.Warn("segment can't be emptied", "segment", g.id, "error", err)
	}
}

// walkGroup is how many frames are looked up at once.
const walkGroup = 1024

// walkFrames calls fn for the data frames of g in groups, as far as its batches
// are intact. Frames of batches that recovery dropped are among them.
func (s *Store) walkFrames(ctx context.Context, g *segment, fn func([]frameRecord) error) error {
	at, err := s.firstBatch(ctx, g)
	var frames []frameRecord
	for err == nil {
		var b found
		if b, err = s.readBatch(ctx, g, at); err != nil {
			break
		}
		if frames, err = appendFrames(frames, b); err != nil {
			break
		}
		if len(frames) >= walkGroup {
			if err := fn(frames); err != nil {
				return err
			}
			frames = frames[:0]
		}
		at += b.header.size
		if b.header.flags&flagLast != 0 {
			break
		}
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		return err
	}
	return fn(frames)
}

// firstBatch is where the batches of g begin: behind the preamble, and behind
// the copy of the root if a session began in g.
func (s *Store) firstBatch(ctx context.Context, g *segment) (uint32, error) {
	if _, err := s.readBatchHeader(ctx, g, seal.PreambleSize); !errors.Is(err, ErrDamaged) {
		return seal.PreambleSize, err
	}
	b := make([]byte, seal.MaxRootSize)
	info, err := seal.ParseRoot(b[:s.readSome(ctx, g.id, seal.PreambleSize, b)])
	if err != nil {
		return 0, sealError(err)
	}
	return seal.PreambleSize + uint32(sectors(info.Size())), nil
}

// appendFrames adds the data frames of b.
func appendFrames(frames []frameRecord, b found) ([]frameRecord, error) {
	err := parseRecords(b.records, func(r record) error {
		if r.frame == nil {
			return nil
		}
		frames = append(frames, *r.frame)
		return checkFrameRecord(b, *r.frame)
	})
	return frames, err
}

package store

import (
	"context"
	"fmt"

	"github.com/coffer-fs/coffer/store/seal"
)

// spaceClass says what a segment is wanted for, and thereby how much of the
// reserve it may use.
type spaceClass int

const (
	spaceUser    spaceClass = iota // new data: none of the reserve
	spaceFreeing                   // what makes room in the end, or had room reserved
	spaceNode                      // checkpoints: all of it
	spaceSession                   // opening: a full volume must open, so beyond it
)

// sessionOverdraft is how many segments opening may take beyond the limit.
const sessionOverdraft = 4

// Space is the room of a volume, in bytes.
type Space struct {
	Capacity  int64 // the volume's size limit
	Used      int64 // in use, reserved included
	Available int64 // what can still be written
}

// Space returns the room of the volume.
func (s *Store) Space() Space {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Space{Capacity: s.capacity, Used: s.usedBytes(), Available: s.availableBytes()}
}

// usedBytes is what cleaning could not give back. Callers hold mu.
func (s *Store) usedBytes() int64 {
	return s.live + s.reserved + int64(s.tree.DirtyBytes())
}

// availableBytes is what user data may still take. Callers hold mu.
func (s *Store) availableBytes() int64 {
	segments := int64(s.limitSegments(spaceUser))
	perSegment := s.segmentSize - seal.PreambleSize - finalRoom
	return max(0, segments*perSegment-s.usedBytes())
}

// limitSegments is how many segments there may be when one of this class is
// made. A segment each stays back for freeing and for nodes, and enough for
// cleaning to have somewhere to copy to.
func (s *Store) limitSegments(class spaceClass) int {
	total := int(s.capacity / s.segmentSize)
	switch class {
	case spaceSession:
		return total + sessionOverdraft
	case spaceNode:
		return total
	case spaceFreeing:
		return total - 1
	default:
		return total - 2 - total/16
	}
}

// takeSpace counts one more segment if the class has room for it.
func (s *Store) takeSpace(class spaceClass) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := len(s.table.byID) + s.making
	if s.log.next != nil {
		have++
	}
	if have >= s.limitSegments(class) {
		return false
	}
	s.making++
	return true
}

// Reserve sets n bytes of room aside for data that will be sealed later, so
// that sealing it can't fail for lack of room. ErrFull.
func (s *Store) Reserve(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	need := reservation(n)
	if s.availableBytes() < need {
		return fmt.Errorf("%d bytes more: %w", n, ErrFull)
	}
	s.reserved += need
	return nil
}

// Unreserve gives back what Reserve took.
func (s *Store) Unreserve(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved -= reservation(n)
	if s.reserved < 0 {
		panic("store: more room given back than was reserved")
	}
}

// reservation is what n bytes may take at worst, in frames of 4 KiB with an
// extent cut in two by each. It is linear in whole blocks.
func reservation(n int64) int64 { return (n + 4095) / 4096 * (4096 + 3*extentOverhead) }

// reclaim makes room for a segment, or says that there is none to be made.
func (s *Store) reclaim(ctx context.Context) error {
	s.reclaimMu.Lock()
	defer s.reclaimMu.Unlock()
	s.mu.Lock()
	err := s.usable()
	dead := s.deadSegments() > 0
	before := len(s.table.byID)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if dead {
		if err := s.Checkpoint(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.table.byID) < before {
		return nil
	}
	return fmt.Errorf("all %d segments are in use: %w", before, ErrFull)
}

// deadSegments counts the segments that the next checkpoint will free. Callers
// hold mu.
func (s *Store) deadSegments() int {
	n := 0
	for _, g := range s.table.byID {
		if g.live == 0 && g.pins == 0 && g != s.log.seg && g != s.nodes.seg {
			n++
		}
	}
	return n
}

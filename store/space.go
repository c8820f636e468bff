package store

import (
	"fmt"

	"github.com/coffer-fs/coffer/store/seal"
)

// spaceClass says what a segment is wanted for, and thereby how much of the
// reserve it may use.
type spaceClass int

const (
	spaceUser     spaceClass = iota // new data: none of the reserve
	spaceFreeing                    // what makes room in the end
	spaceReserved                   // what had room reserved
	spaceCleaning                   // copies of what lives in segments being emptied
	spaceNode                       // checkpoints: all of it, and at need beyond it
	spaceSession                    // opening: a full volume must open, so still further
)

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
	return max(0, s.roomForData()-s.usedBytes())
}

// roomForData is how much may be in use. Callers hold mu.
func (s *Store) roomForData() int64 {
	return int64(s.usableSegments()) * (s.segmentSize - seal.PreambleSize - finalRoom)
}

// limitSegments is how many segments there may be with the last one made for
// this class. What a checkpoint may write stays back for nodes, and one segment
// for cleaning to have somewhere to copy to. What must not fail may go beyond the
// volume's size for a while: the cleaner brings it back.
func (s *Store) limitSegments(class spaceClass) int {
	total, nodes := s.totalSegments(), s.nodeReserve()
	switch class {
	case spaceSession:
		return total + 3*(nodes+1)
	case spaceNode:
		return total + 2*(nodes+1)
	case spaceCleaning:
		return total - nodes
	default:
		return total - nodes - 1
	}
}

// nodeReserve is how many segments hold the nodes of one checkpoint.
func (s *Store) nodeReserve() int { return 1 + s.maxDirty()/int(s.segmentSize) }

func (s *Store) totalSegments() int { return int(s.capacity / s.segmentSize) }

// usableSegments is how many segments' worth of live data there may be. The
// more is left over, the less has to be copied for each segment gained.
func (s *Store) usableSegments() int {
	total := s.totalSegments()
	return total - total/16 - total/32 - 4
}

// takeSpace counts one more segment if the class has room for it.
func (s *Store) takeSpace(class spaceClass) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.countSegments()
	if class == spaceSession {
		have -= s.deadSegments() // they may be gone from the host already
	}
	if have >= s.limitSegments(class) {
		if class != spaceCleaning || s.lent == 0 || have >= s.limitSegments(spaceNode)-s.nodeReserve() {
			return false
		}
		s.lent--
	}
	s.making++
	return true
}

// countSegments counts the segments there are, and those being made. Callers
// hold mu.
func (s *Store) countSegments() int {
	n := len(s.table.byID) + s.making
	if s.log.next != nil {
		n++
	}
	return n
}

// maxDirty is how many bytes of nodes may be changed before updates wait for a
// checkpoint: what is kept back for nodes must hold them.
func (s *Store) maxDirty() int {
	return int(min(int64(2*s.options.CheckpointBytes), s.capacity/16))
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

// overdrawn reports whether so much more is in use than there is for users that what
// makes no room may take no more: what deleting a snapshot takes must be left.
// Callers hold mu.
func (s *Store) overdrawn() bool {
	segments := s.usableSegments() + max(1, (s.limitSegments(spaceFreeing)-s.usableSegments())/2)
	return s.usedBytes() > int64(segments)*(s.segmentSize-seal.PreambleSize-finalRoom)
}

// errPinned says why nothing gets free.
func (s *Store) errPinned() error {
	return fmt.Errorf("%d snapshots hold on to what is removed: %w", len(s.snapshots.all), ErrFull)
}

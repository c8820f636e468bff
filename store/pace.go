package store

import (
	"context"
	"time"

	"github.com/coffer-fs/coffer/store/seal"
)

// Whoever writes faster than cleaning gains room is slowed down to its pace, a
// little with each write, rather than held up for as long as emptying a whole
// segment takes once there is no room at all.

// pacing is what cleaning has gained that cannot be seen in the count of segments
// yet. It is guarded by Store.mu.
type pacing struct {
	cleaners int           // at work
	forced   int           // segments that a writer had to wait for with nothing left to write to
	gained   int64         // bytes of segments emptied, or the share that is, and not deleted
	moved    chan struct{} // closed when any of this changes; nil if nobody waits
}

const (
	// paceHalves is how many halves of a segment of room writers leave to the cleaner:
	// for what it copies, for what it empties meanwhile, and some for a checkpoint.
	paceHalves = 5
	// maxPaceWait bounds how long one write waits for the cleaner.
	maxPaceWait = time.Second
)

// pace waits while cleaning is behind. It never fails: whoever finds no room in
// the end makes it.
func (s *Store) pace(ctx context.Context, class spaceClass) {
	if class == spaceCleaning {
		return
	}
	var stop <-chan time.Time
	for {
		s.mu.Lock()
		if s.pacing.cleaners == 0 || s.ahead() >= paceHalves*s.segmentSize/2 {
			s.mu.Unlock()
			return
		}
		if s.pacing.moved == nil {
			s.pacing.moved = make(chan struct{})
		}
		moved := s.pacing.moved
		s.mu.Unlock()
		if stop == nil {
			stop = time.After(maxPaceWait)
		}
		select {
		case <-moved:
		case <-stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

// ahead is how many bytes can be written before there must be another segment,
// if the cleaner only brings to an end what it has done. Callers hold mu.
func (s *Store) ahead() int64 {
	l := &s.log
	room := int64(s.freeSegments())*s.segmentSize + s.segmentSize - int64(l.offset) + s.pacing.gained
	if l.open != nil {
		room -= int64(l.open.used)
	}
	if l.next != nil {
		room += s.segmentSize
	}
	return room
}

// paced lets those go on who wait for the pace. Callers hold mu.
func (s *Store) paced() {
	if s.pacing.moved != nil {
		close(s.pacing.moved)
		s.pacing.moved = nil
	}
}

// cleans counts who cleans until the returned function is called.
func (s *Store) cleans() (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pacing.cleaners++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pacing.cleaners--
		s.paced()
	}
}

// gaining returns a function to be called when some of g was copied.
func (s *Store) gaining(g *segment) (more func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	live, told := g.live, int64(0)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if live > 0 && g.kind == seal.KindLog {
			share := int64(float64(live-g.live) / float64(live) * float64(s.segmentSize))
			s.pacing.gained += share - told // what is visible by now was taken from it
			told = share
			s.paced()
		}
	}
}

// gone takes from the gain what is visible as room now. Callers hold mu.
func (s *Store) gone(segments int) {
	s.pacing.gained = max(0, s.pacing.gained-int64(segments)*s.segmentSize)
	s.paced()
}

// countForced notes that a writer has to make room itself.
func (s *Store) countForced(class spaceClass, next bool) {
	if s.hasAtMost(s.roomFor(class, next)) {
		return // another one made it meanwhile
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pacing.forced++
}

package store

import "github.com/coffer-fs/coffer/store/seal"

// What part of a segment must be dead for emptying it to be worth the work: one
// in so many. It is more than packing what lives may waste, so that cleaning ends.
const (
	gainInTime = 10 // before there is need
	gainAtNeed = 32
)

// victim returns the segment that is best emptied next, nil if there is none
// of which so much is dead. Callers hold mu.
func (s *Store) victim(gain int64) *segment {
	var best *segment
	var most float64
	for _, g := range s.table.byID {
		if !s.cleanable(g, gain) {
			continue
		}
		if v := s.benefit(g); v > most {
			best, most = g, v
		}
	}
	return best
}

// cleanable reports whether emptying g would give room. Callers hold mu.
func (s *Store) cleanable(g *segment, gain int64) bool {
	if g.doomed || g.stuck || g.pins > 0 || g == s.log.seg || g == s.nodes.seg || s.dead(g) {
		return false
	}
	return s.segmentSize-g.live >= s.segmentSize/gain
}

// benefit over cost, after Rosenblum and Ousterhout: the room gained, likely to
// last the longer the older the segment is, over reading it and writing what
// lives.
func (s *Store) benefit(g *segment) float64 {
	u := float64(g.live) / float64(s.segmentSize-seal.PreambleSize)
	age := float64(s.nextSegment - g.id)
	return (1 - u) * age / (1 + u)
}

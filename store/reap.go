package store

import (
	"context"

	"github.com/coffer-fs/coffer/store/seal"
)

// reap deletes the log segments before the root's log in which nothing lives any
// more, without a checkpoint, and returns how many. The tree of the root may
// still refer to them, but once the log behind it is durable, recovery takes
// all that back before anyone reads. So emptying a segment does not cost the
// writing of every node that changed.
func (s *Store) reap(ctx context.Context) (count int, err error) {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	s.mu.Lock()
	err = s.usable()
	dead := s.reapable()
	want := s.log.sequence
	if s.log.open != nil {
		want++ // what it gets when it is closed
	}
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if len(dead) > 0 {
		s.syncMu.Lock()
		err = s.commitTo(ctx, want)
		s.syncMu.Unlock()
	}
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	before := s.deleted
	s.tick++
	for _, g := range dead {
		g.doomed = true
		s.graves = append(s.graves, grave{g, s.tick})
	}
	s.mu.Unlock()
	s.sweep(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone(len(dead))
	return int(s.deleted - before), nil
}

// reapable returns what reap may delete. What is dead stays so. Callers hold mu.
func (s *Store) reapable() []*segment {
	var dead []*segment
	for _, g := range s.table.byID {
		if g.kind == seal.KindLog && g.id < s.root.log.segment && s.dead(g) {
			dead = append(dead, g)
		}
	}
	return dead
}

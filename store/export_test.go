package store

import (
	"maps"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
)

// Settled calls fn with the segments that the volume needs, while nothing makes
// or deletes one.
func (s *Store) Settled(fn func(ids []host.SegmentID)) {
	s.prepareMu.Lock()
	defer s.prepareMu.Unlock()
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	s.mu.Lock()
	ids := slices.Collect(maps.Keys(s.table.byID))
	if s.log.next != nil {
		ids = append(ids, s.log.next.id)
	}
	s.mu.Unlock()
	fn(ids)
}

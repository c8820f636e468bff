package store

import (
	"context"
	"maps"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/tree"
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

// VolumeKeys returns the volume keys that the store has.
func (s *Store) VolumeKeys() seal.Keyring { return *s.ring.Load() }

// BatchHeaderSize is the length of a sealed batch header.
const BatchHeaderSize = batchHeaderSize

// EmptyAll empties every segment that is not open, and checkpoints.
func (s *Store) EmptyAll(ctx context.Context) error {
	s.mu.Lock()
	var all []*segment
	for _, g := range s.table.byID {
		if g != s.log.seg && g != s.nodes.seg && !g.doomed {
			all = append(all, g)
		}
	}
	s.mu.Unlock()
	s.cleanMu.Lock()
	defer s.cleanMu.Unlock()
	for _, g := range all {
		if err := s.empty(ctx, g, nil); err != nil {
			return err
		}
	}
	return s.Checkpoint(ctx)
}

// Live returns the segments of the volume and what lives in them.
func (s *Store) Live() map[host.SegmentID]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[host.SegmentID]int64{}
	for id, g := range s.table.byID {
		m[id] = g.live
	}
	return m
}

// MakeNext makes the next log segment if the worker has not yet.
func (s *Store) MakeNext(ctx context.Context) error { return s.prepareNext(ctx, spaceUser) }

// DeleteNext deletes it.
func (s *Store) DeleteNext(ctx context.Context) error {
	s.prepareMu.Lock()
	defer s.prepareMu.Unlock()
	return s.deleteNext(ctx)
}

// Strays are the segments on the host that are not in the volume.
func (s *Store) Strays(ctx context.Context) (strays []host.SegmentID, err error) {
	listed, err := s.host.Segments(ctx)
	for _, i := range listed {
		if !s.isKnown(i.ID) {
			strays = append(strays, i.ID)
		}
	}
	return strays, err
}

// MaxOrphans is how many unknown segments one opening deletes.
const MaxOrphans = maxOrphans

// CleanStep deletes empty segments, or empties one. ErrFull if there is nothing to
// be done.
func (s *Store) CleanStep(ctx context.Context) error {
	_, err := s.cleanStep(ctx, 0, gainAtNeed)
	return err
}

// SetSlice makes a scrub verify so many bytes at a time.
func (o *ScrubOptions) SetSlice(n int64) { o.slice = n }

// SetKeepFor sets how long a host has to keep the position.
func (o *ScrubOptions) SetKeepFor(fn func(context.Context) (context.Context, context.CancelFunc)) {
	o.keepFor = fn
}

// Forced is how often a writer had to make room itself.
func (s *Store) Forced() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pacing.forced
}

// Cleans lets writers believe that a cleaner is at work until done is called, and
// WaitsForCleaner tells whether one of them waits for it.
func (s *Store) Cleans() (done func()) { return s.cleans() }

// WaitsForCleaner is explained at Cleans.
func (s *Store) WaitsForCleaner() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pacing.moved != nil
}

// Gained lets the cleaner have gained so many segments.
func (s *Store) Gained(segments int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pacing.gained += int64(segments) * s.segmentSize
	s.paced()
}

// Ahead is how much a writer can write before he waits for the cleaner, in bytes.
func (s *Store) Ahead() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ahead() - paceHalves*s.segmentSize/2
}

// ReencodeScrub parses a scrub position and encodes it again.
func ReencodeScrub(b []byte) ([]byte, error) {
	r, err := parseScrub(b)
	if err != nil {
		return nil, err
	}
	return encodeScrub(r), nil
}

// EncodeScrub encodes a scrub position.
func EncodeScrub(r ScrubReport) []byte { return encodeScrub(r) }

// OwnItem is an item of the store itself.
type OwnItem struct {
	Type  uint8
	Layer uint64
	Value []byte
}

// PutOwn puts items into the map that nobody checked. The next checkpoint writes them.
func (s *Store) PutOwn(ctx context.Context, items []OwnItem) error {
	v := s.tree.Resident()
	for _, i := range items {
		k := Key{Object: ownObject, Type: i.Type, Sub: i.Layer}
		for {
			s.mu.Lock()
			s.tree.Rebase(v)
			_, _, err := v.Get(k)
			if err == nil {
				s.tree.Put(v, k, i.Value)
			}
			s.mu.Unlock()
			if err == nil {
				break
			}
			if err := v.Fetch(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// SnapshotKey is the key of the record of a snapshot, LayerKey that of what a layer
// says of a key.
func SnapshotKey(l uint16) Key     { return layer(l).recordKey() }
func LayerKey(l uint16, k Key) Key { return layer(l).key(k) }

// Leaf is where the leaf lies that holds, or would hold, a key.
func (s *Store) Leaf(ctx context.Context, k Key) (leaf tree.Place, err error) {
	s.mu.Lock()
	v := s.tree.View(ctx)
	s.mu.Unlock()
	err = v.Places(func(p tree.Place) error {
		if p.Level == 0 && !k.Less(p.Key) {
			leaf = p
		}
		return nil
	})
	return leaf, err
}

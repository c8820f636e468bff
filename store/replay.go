package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/tree"
)

// found is a batch of the log whose header and records are intact.
type found struct {
	seg     *segment
	start   uint32
	header  batchHeader
	records []byte
}

// replay brings the state of the root up to the end of the log:
//
//  1. follow the batches, each of which names its predecessor by hash
//  2. refuse a gap: nothing that was durable may be missing (gap.go)
//  3. of the batches that may not have been durable, drop the first whose data
//     is incomplete, and all after it
//  4. make their changes, as Update made them the first time
func (s *Store) replay(ctx context.Context) error {
	batches, err := s.followLog(ctx)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	var durable uint64
	for _, b := range batches {
		durable = max(durable, b.header.synced)
	}
	for i, b := range batches {
		if b.header.sequence <= durable {
			continue
		}
		whole, err := s.framesIntact(ctx, b)
		if err != nil {
			return fmt.Errorf("replay: batch %d: %w", b.header.sequence, err)
		}
		if !whole {
			batches = batches[:i]
			break
		}
	}
	for _, b := range batches {
		if err := s.replayBatch(ctx, b); err != nil {
			return fmt.Errorf("replay: batch %d: %w", b.header.sequence, err)
		}
		s.log.unsynced[b.seg.id] = true
		s.log.sequence, s.log.chain = b.header.sequence, b.header.chain()
		s.anchor.note(s.log.sequence, s.log.chain)
	}
	return nil
}

// followLog returns the batches behind the root.
func (s *Store) followLog(ctx context.Context) ([]found, error) {
	pos := s.root.log
	g := s.table.byID[pos.segment]
	if g == nil {
		g = &segment{id: pos.segment, kind: seal.KindLog, generation: pos.generation, salt: pos.salt}
		s.table.add(g)
	}
	var batches []found
	introduced := map[host.SegmentID]*segment{}
	for at := pos.offset; ; {
		b, err := s.readBatch(ctx, g, at)
		if errors.Is(err, ErrDamaged) {
			return batches, s.endOfLog(ctx, g, at, pos.sequence+1)
		}
		if err != nil {
			return nil, err
		}
		if b.header.sequence != pos.sequence+1 || b.header.previous != pos.chain {
			return nil, fmt.Errorf("segment %d, offset %d: batch %d does not follow batch %d: %w",
				g.id, at, b.header.sequence, pos.sequence, ErrDamaged)
		}
		batches = append(batches, b)
		pos.sequence, pos.chain = b.header.sequence, b.header.chain()
		at += b.header.size
		if b.header.flags&flagLast == 0 {
			continue
		}
		next, err := lastIntroduced(b)
		if err != nil {
			return nil, err
		}
		if next == nil || introduced[next.id] != nil {
			return nil, fmt.Errorf("batch %d ends segment %d without a successor: %w", pos.sequence, g.id, ErrDamaged)
		}
		introduced[next.id] = next
		g, at = next, seal.PreambleSize
	}
}

// lastIntroduced returns the last segment that b introduces.
func lastIntroduced(b found) (next *segment, err error) {
	err = parseRecords(b.records, func(r record) error {
		if r.segment != nil {
			next = r.segment
		}
		return nil
	})
	return next, err
}

// readBatch reads and verifies the header and the records of the batch at one
// place. ErrDamaged where there is none, or not all of it.
func (s *Store) readBatch(ctx context.Context, g *segment, at uint32) (found, error) {
	b := found{seg: g, start: at}
	h, err := s.readBatchHeader(ctx, g, at)
	if err != nil {
		return b, err
	}
	b.header = h
	frame := make([]byte, int(h.recordsSize)+seal.TagSize)
	if err := s.readHost(ctx, g.id, int64(at)+int64(h.records), frame); err != nil {
		return b, err
	}
	if sha256.Sum256(frame) != h.digest {
		return b, fmt.Errorf("segment %d: records of batch %d: %w", g.id, h.sequence, ErrDamaged)
	}
	k, err := s.key(g)
	if err != nil {
		return b, err
	}
	b.records, err = k.Open(nil, seal.FrameRecords, at+h.records, frame)
	if err != nil {
		return b, fmt.Errorf("segment %d: records of batch %d: %w", g.id, h.sequence, ErrDamaged)
	}
	return b, nil
}

func (s *Store) readBatchHeader(ctx context.Context, g *segment, at uint32) (batchHeader, error) {
	if int64(at)+batchHeaderSize > s.segmentSize {
		return batchHeader{}, fmt.Errorf("segment %d ends at %d: %w", g.id, at, ErrDamaged)
	}
	b := make([]byte, batchHeaderSize)
	if err := s.readHost(ctx, g.id, int64(at), b); err != nil {
		return batchHeader{}, err
	}
	k, err := s.key(g)
	if err != nil {
		return batchHeader{}, err
	}
	return openBatchHeader(k, at, nil, b, uint32(s.segmentSize)-at)
}

// openBatchHeader verifies and decodes a header, with its plaintext in space.
func openBatchHeader(k seal.SegmentKey, at uint32, space, b []byte, room uint32) (batchHeader, error) {
	p, err := k.Open(space, seal.FrameBatch, at, b)
	if err != nil {
		return batchHeader{}, ErrDamaged
	}
	return parseBatchHeader(p, room)
}

// framesIntact reports whether every data frame of b verifies.
func (s *Store) framesIntact(ctx context.Context, b found) (bool, error) {
	intact := true
	err := parseRecords(b.records, func(r record) error {
		if r.frame == nil || !intact {
			return nil
		}
		if err := checkFrameRecord(b, *r.frame); err != nil {
			return err
		}
		_, err := s.readFrame(ctx, b.seg, seal.FrameData, r.frame.offset, r.frame.length+seal.TagSize)
		if errors.Is(err, ErrDamaged) {
			intact = false
			return nil
		}
		return err
	})
	return intact, err
}

func checkFrameRecord(b found, f frameRecord) error {
	from, to := uint64(b.start)+batchHeaderSize, uint64(b.start)+uint64(b.header.records)
	if f.length == 0 || f.length > MaxFrame || uint64(f.offset) < from || uint64(f.offset)+uint64(f.length)+seal.TagSize > to {
		return fmt.Errorf("frame of %d bytes at %d, outside of its batch: %w", f.length, f.offset, ErrDamaged)
	}
	return nil
}

// replayBatch makes the changes of one batch.
func (s *Store) replayBatch(ctx context.Context, b found) error {
	var changes []change
	err := parseRecords(b.records, func(r record) error {
		switch {
		case r.change != nil:
			changes = append(changes, *r.change)
		case r.segment != nil:
			return s.introduce(r.segment)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range changes {
		if err := s.replayChange(ctx, c); err != nil {
			return err
		}
	}
	s.log.bytes += int64(b.header.size)
	s.log.records += int64(b.header.recordsSize)
	return nil
}

func (s *Store) introduce(g *segment) error {
	if g.id == 0 || g.id > host.MaxSegmentID || s.table.byID[g.id] != nil || len(s.table.byID) >= maxSegments {
		return fmt.Errorf("segment %d introduced: %w", g.id, ErrDamaged)
	}
	s.table.add(g)
	return nil
}

func (s *Store) replayChange(ctx context.Context, c change) error {
	v := s.tree.Resident()
	for {
		s.mu.Lock()
		olds, err := s.prepare(v, []change{c})
		if err == nil {
			s.apply(v, []change{c}, olds)
		}
		s.mu.Unlock()
		if !errors.Is(err, tree.ErrMiss) {
			return err
		}
		if err := v.Fetch(ctx); err != nil {
			return err
		}
	}
}

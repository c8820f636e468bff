package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// A crash may leave the batches after the last sync in any state, so the log
// ends where the next batch is not whole. If something behind that place says
// that the batch was durable, there was no crash, and the log was damaged.

// maxGapSegments bounds how many segments behind the end of the log are looked
// into.
const maxGapSegments = 64

// endOfLog decides whether the log ends at offset at of g, where batch missing
// should begin. ErrDamaged if it was damaged there.
func (s *Store) endOfLog(ctx context.Context, g *segment, at uint32, missing uint64) error {
	if missing == s.root.log.sequence+1 {
		// The root was made after all before it was durable.
		if err := s.readHost(ctx, g.id, int64(at)-1, make([]byte, 1)); err != nil {
			return fmt.Errorf("the log begins at %d: %w", at, err)
		}
	}
	if err := s.refuseGap(ctx, g, at+seal.SectorSize, missing); err != nil {
		return err
	}
	listed, err := s.reader.Segments(ctx)
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	slices.SortFunc(listed, func(a, b host.SegmentInfo) int { return cmp.Compare(a.ID, b.ID) })
	looked := 0
	for _, i := range listed {
		if i.ID <= g.id || s.table.byID[i.ID] != nil || looked == maxGapSegments {
			continue
		}
		looked++
		later := s.claimedSegment(ctx, i.ID)
		if later == nil || later.kind != seal.KindLog {
			continue
		}
		if err := s.refuseGap(ctx, later, seal.PreambleSize, missing); err != nil {
			return err
		}
	}
	return nil
}

// claimedSegment is a segment as its own preamble describes it, nil if it
// describes none of this volume. It is good for refusing only: what the preamble
// says is not trusted.
func (s *Store) claimedSegment(ctx context.Context, id host.SegmentID) *segment {
	b := make([]byte, seal.PreambleSize)
	if s.readSome(ctx, id, 0, b) != len(b) {
		return nil
	}
	p, err := seal.ParsePreamble(b)
	if err != nil || p.Volume != s.volume || p.Number != uint64(id) {
		return nil
	}
	return &segment{id: id, kind: p.Kind, generation: p.Generation, salt: p.Salt}
}

// refuseGap looks from offset from of g on for a batch that was written after
// batch missing was durable.
func (s *Store) refuseGap(ctx context.Context, g *segment, from uint32, missing uint64) error {
	k, err := s.key(g)
	if err != nil {
		return nil // nothing in it is ours
	}
	const window = maxHostRead - seal.SectorSize // a header may reach beyond it
	pooled := takeReadBuffer(window + batchHeaderSize)
	defer giveReadBuffer(pooled)
	buf := (*pooled)[:window+batchHeaderSize]
	var space, zeros [batchHeaderSize]byte
	for off := int64(from); off+batchHeaderSize <= s.segmentSize; off += window {
		n := min(int64(len(buf)), s.segmentSize-off)
		got := s.readSome(ctx, g.id, off, buf[:n])
		for i := 0; i+batchHeaderSize <= got && i < window; i += seal.SectorSize {
			if bytes.Equal(buf[i:i+batchHeaderSize], zeros[:]) {
				continue // never written
			}
			place := uint32(off) + uint32(i)
			h, err := openBatchHeader(k, place, space[:0], buf[i:i+batchHeaderSize], uint32(s.segmentSize)-place)
			if err == nil && h.sequence > missing && h.synced >= missing {
				return fmt.Errorf("batch %d was durable and is missing, batch %d at segment %d, offset %d says: %w",
					missing, h.sequence, g.id, place, ErrDamaged)
			}
		}
		if got < int(n) {
			break
		}
	}
	return nil
}

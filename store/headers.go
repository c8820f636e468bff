package store

import (
	"context"
	"fmt"
	"math/bits"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// useHeader takes up a header that is on the host, and the volume keys from it.
// While the volume is open, callers hold ckptMu.
func (s *Store) useHeader(rec host.Record, h seal.Header, ring seal.Keyring) error {
	copied, err := s.preambleHeader(rec.Value, h, ring)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring.Store(&ring)
	s.header.Store(&copied)
	s.headerVersion, s.headerSequence = rec.Version, h.Sequence
	s.unusedSlots = 0
	for _, slot := range h.Slots {
		s.lastGeneration = max(s.lastGeneration, slot.Generation)
		if slot.Generation > ring.Newest() {
			s.unusedSlots++
		}
	}
	return nil
}

// preambleHeader is what preambles hold of a header: its slot of the newest
// generation only, for which there is always space. So no copy of a slot outlives
// the segments that were made for it.
func (s *Store) preambleHeader(b []byte, h seal.Header, ring seal.Keyring) ([]byte, error) {
	if len(h.Slots) == 1 {
		return b, nil
	}
	b, err := seal.BuildHeader(h.Volume, h.SegmentShift, h.Sequence, []seal.SlotSecret{s.secret}, ring)
	return b, sealError(err)
}

// headerChanged reports whether no root goes with the present header yet. Callers
// hold ckptMu.
func (s *Store) headerChanged() bool { return s.headerSequence != s.root.headerSequence }

// swapHeader replaces the header by one with these slots, the last of which is
// of the newest generation. Callers hold ckptMu.
func (s *Store) swapHeader(ctx context.Context, slots []seal.SlotSecret, ring seal.Keyring) error {
	shift := uint8(bits.TrailingZeros64(uint64(s.segmentSize)))
	b, err := seal.BuildHeader(s.volume, shift, s.headerSequence+1, slots, ring)
	if err != nil {
		return sealError(err)
	}
	h, err := seal.ParseHeader(b)
	if err != nil {
		return sealError(err)
	}
	if err := s.Err(); err != nil {
		return err
	}
	v, err := s.host.Swap(context.WithoutCancel(ctx), recordHeader, s.headerVersion, b)
	if err != nil && host.Refused(err) {
		return fmt.Errorf("swap header: %w", err)
	}
	if err != nil {
		return s.failNow(fmt.Errorf("swap header: %w", err))
	}
	s.secret = slots[len(slots)-1]
	return s.useHeader(host.Record{Value: b, Version: v}, h, ring)
}

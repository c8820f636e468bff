package store

import (
	"context"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// recordHandover is the record with the message to whoever gets the volume.
const recordHandover = "handover"

// HandOver adds a key slot beside the present one, so that secret opens the volume
// too, and keeps a message for whoever is to find the secret out. The volume key
// stays the same. Both slots last until the volume gets another key; a handover
// before is void. ErrUnfinished between two generations, ErrTooLarge.
func (s *Store) HandOver(ctx context.Context, secret Secret, message []byte) error {
	if len(message) > host.MaxRecordSize {
		return fmt.Errorf("hand over: message of %d bytes: %w", len(message), ErrTooLarge)
	}
	s.cleanMu.Lock()
	defer s.cleanMu.Unlock()
	if err := s.handOver(ctx, secret, message); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	// The root that refuses an older header.
	if err := s.checkpointAnchored(ctx); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	return nil
}

func (s *Store) handOver(ctx context.Context, secret Secret, message []byte) error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	ring := *s.ring.Load()
	if len(ring) > 1 {
		return ErrUnfinished
	}
	slot, err := newSlot(secret, ring.Newest())
	if err != nil {
		return err
	}
	defer slot.Key.Destroy()
	if err := s.Err(); err != nil {
		return err
	}
	// The message first: a message without its slot opens nothing.
	if err := s.swapHandover(ctx, message); err != nil {
		return err
	}
	return s.swapHeader(ctx, []seal.SlotSecret{slot, s.secret}, ring)
}

func (s *Store) swapHandover(ctx context.Context, message []byte) error {
	rec, err := s.host.Get(ctx, recordHandover)
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("read handover: %w", err)
	}
	if _, err := s.host.Swap(ctx, recordHandover, rec.Version, message); err != nil {
		return fmt.Errorf("store handover: %w", err)
	}
	return nil
}

// forgetHandover empties the message of a handover that was taken up. It is of no
// use to anybody any more, so it is no failure if it can't.
func (s *Store) forgetHandover(ctx context.Context) {
	rec, err := s.host.Get(ctx, recordHandover)
	if isNotFound(err) || err == nil && len(rec.Value) == 0 {
		return
	}
	if err == nil {
		_, err = s.host.Swap(ctx, recordHandover, rec.Version, nil)
	}
	if err != nil {
		s.logger.Warn("remove the message of the handover", "error", err)
	}
}

// ReadHandover returns the message of the newest handover, empty if there is none.
// It is the host's word, and proves nothing.
func ReadHandover(ctx context.Context, r host.Reader) ([]byte, error) {
	rec, err := r.Get(ctx, recordHandover)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read handover: %w", err)
	}
	return rec.Value, nil
}

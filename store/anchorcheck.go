package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/key"
)

// askAnchor asks the anchor for the volume's state, which is compared with what
// is recovered by checkAnchor.
func (s *Store) askAnchor(ctx context.Context) error {
	o := s.options
	if o.Anchor == nil {
		if s.root.anchored == nil {
			return nil
		}
		if !o.DetachAnchor {
			return ErrAnchorMissing
		}
		if s.host != nil {
			s.logger.Warn("the volume's anchor is let go: older copies of the volume can be put back unnoticed from here on")
		}
		return nil
	}
	s.anchor.to = o.Anchor
	state, err := o.Anchor.Read(ctx, s.volume)
	switch {
	case errors.Is(err, ErrAnchorEmpty):
	case errors.Is(err, ErrAnchorOther):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrAnchorUnavailable, err)
	}
	s.anchor.confirmed = state
	return nil
}

// checkAnchor refuses what was recovered if the anchor knows better, unless that
// is approved.
func (s *Store) checkAnchor() error {
	if s.anchor.to == nil {
		return nil
	}
	err := s.verdict()
	switch {
	case err == nil, s.options.InspectAnchor && s.options.ReadOnly:
		return nil
	case errors.Is(err, ErrAnchorFirstUse) && s.options.AdoptAnchor:
		s.logger.Warn("the anchor takes the volume as it is found")
		return nil
	case s.options.ApproveAnchor != [32]byte{} && s.options.ApproveAnchor == s.approval():
		s.logger.Warn("the anchor takes the volume as it is found, which was approved", "verdict", err)
		return nil
	}
	return err
}

// verdict compares what was recovered with what the anchor has (docs/format.md,
// "Anchor"): nil if it holds the anchor's point.
func (s *Store) verdict() error {
	a, now, r := &s.anchor, s.anchor.confirmed, s.root
	none := now == AnchorState{}
	switch {
	case none && r.anchored == nil:
		return ErrAnchorFirstUse
	case none:
		return ErrAnchorLost
	case r.anchored == nil:
		return fmt.Errorf("%w: it is from before it got its anchor", ErrRolledBack)
	case now.Sequence <= r.log.sequence && (now == r.anchored.confirmed || now == r.anchored.pending):
		return nil
	case a.seen && now.Root == r.sequence && now.Hash == anchorHash(s.volume, a.root, a.chain):
		return nil
	case a.seen && now.Root == r.sequence-1 && now.Hash == anchorHash(s.volume, r.anchored.previous, a.chain):
		return nil
	case r.sequence < now.Root || s.log.sequence < now.Sequence:
		return fmt.Errorf("%w: it ends with root %d and batch %d, the anchor has seen root %d and batch %d",
			ErrRolledBack, r.sequence, s.log.sequence, now.Root, now.Sequence)
	}
	return fmt.Errorf("%w: up to root %d and batch %d it is not what the anchor has seen in epoch %d", ErrForked, r.sequence, s.log.sequence, now.Epoch)
}

// found is the point that was recovered. Its epoch is the next one.
func (s *Store) found() AnchorState {
	next := s.anchor.confirmed.Epoch
	if r := s.root.anchored; r != nil {
		next = max(next, r.confirmed.Epoch, r.pending.Epoch)
	}
	return AnchorState{
		Epoch: next + 1, Root: s.root.sequence, Sequence: s.log.sequence,
		Hash: anchorHash(s.volume, s.anchor.root, s.log.chain),
	}
}

// approval names what was found and what the anchor has: who approves it allows
// the one to take the place of the other, once.
func (s *Store) approval() [32]byte {
	hash := s.found().Hash
	return sha256.Sum256(key.Info("coffer/v1/anchor approval", s.volume[:], s.anchor.confirmed.append(nil), hash[:]))
}

// claimAnchor begins an epoch: of two copies of a volume that are opened from the
// same point, only one goes on. What was recovered must be durable.
func (s *Store) claimAnchor(ctx context.Context) error {
	if s.anchor.to == nil {
		return nil
	}
	claim := s.found()
	rand.Read(claim.Opening[:])
	s.anchor.mu.Lock()
	defer s.anchor.mu.Unlock()
	s.mu.Lock()
	s.anchor.epoch, s.anchor.opening, s.anchor.pending = claim.Epoch, claim.Opening, claim
	s.mu.Unlock()
	return s.settle(ctx)
}

// AnchorReport is what a volume's anchor knows, beside what was found of the
// volume when it was opened. It is complete for volumes opened with
// Options.InspectAnchor.
type AnchorReport struct {
	// Volume names the volume.
	Volume [16]byte
	// Anchor is what the anchor has. The zero state if nothing.
	Anchor AnchorState
	// Found is the point that was found.
	Found AnchorState
	// Verdict is why opening it is refused; nil if it is not.
	Verdict error
	// Approval is what Options.ApproveAnchor has to be to open it all the same.
	Approval [32]byte
}

// AnchorReport returns it. ErrAnchorMissing without an anchor.
func (s *Store) AnchorReport() (AnchorReport, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.anchor.to == nil {
		return AnchorReport{}, ErrAnchorMissing
	}
	return AnchorReport{s.volume, s.anchor.confirmed, s.found(), s.verdict(), s.approval()}, nil
}

// ID is the name of the volume.
func (s *Store) ID() [16]byte { return s.volume }

// Anchored reports whether the volume has an anchor.
func (s *Store) Anchored() bool { return s.anchor.to != nil }

package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/key"
)

// Anchor remembers, where the host can't reach it, how far volumes have come.
// Its methods may be called at the same time.
type Anchor interface {
	// Read returns the newest state of a volume. ErrAnchorEmpty if there is
	// none, ErrAnchorOther if it belongs to somebody else.
	Read(ctx context.Context, volume [16]byte) (AnchorState, error)

	// Advance replaces a volume's state by next if it still is old; the zero
	// state says that there must be none yet. On return the change is durable.
	// ErrAnchorConflict and ErrAnchorOther mean that nothing happened; after any
	// other error that is unknown.
	Advance(ctx context.Context, volume [16]byte, old, next AnchorState) error
}

// AnchorState is a point of a volume's history (docs/format.md, "Anchor").
type AnchorState struct {
	Epoch    uint64   // openings for writing
	Opening  [16]byte // random: tells openings of the same epoch apart
	Root     uint64   // sequence of a durable root
	Sequence uint64   // of a durable batch, not before the root's log
	Hash     [32]byte // over the root and the chain up to the batch
}

const anchorStateSize = 8 + 16 + 8 + 8 + 32

func (a AnchorState) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, a.Epoch)
	b = append(b, a.Opening[:]...)
	b = binary.BigEndian.AppendUint64(b, a.Root)
	b = binary.BigEndian.AppendUint64(b, a.Sequence)
	return append(b, a.Hash[:]...)
}

func decodeAnchorState(b []byte) AnchorState {
	return AnchorState{
		Epoch:    binary.BigEndian.Uint64(b),
		Opening:  [16]byte(b[8:24]),
		Root:     binary.BigEndian.Uint64(b[24:]),
		Sequence: binary.BigEndian.Uint64(b[32:]),
		Hash:     [32]byte(b[40:72]),
	}
}

// anchorHash is the hash of a point: the sealed root is told by its own hash.
func anchorHash(volume [16]byte, root, chain [32]byte) [32]byte {
	return sha256.Sum256(key.Info("coffer/v1/anchor", volume[:], root[:], chain[:]))
}

// When the anchor is advanced, besides at Close and when a key was changed.
const (
	// AnchorEveryCommit: before a Commit returns.
	AnchorEveryCommit time.Duration = 0
	// AnchorAtClose: not otherwise.
	AnchorAtClose time.Duration = -1
)

// anchorage is what an open volume knows of its anchor.
type anchorage struct {
	// Constant after Open.
	to      Anchor // nil if there is none
	opening [16]byte
	epoch   uint64

	mu sync.Mutex // one question at a time

	// Guarded by Store.mu.
	confirmed AnchorState // what the anchor had when it was asked last
	pending   AnchorState // what it was asked to take, and may have; zero if nothing
	root      [32]byte    // hash of the newest sealed root that is durable

	// Used by Open alone: the chain up to the batch that the anchor names.
	chain [32]byte
	seen  bool
}

// note is told of every batch that is recovered.
func (a *anchorage) note(sequence uint64, chain [32]byte) {
	if sequence == a.confirmed.Sequence {
		a.chain, a.seen = chain, true
	}
}

// point is how far the volume has durably come. Callers hold mu.
func (s *Store) point() AnchorState {
	a := &s.anchor
	return AnchorState{
		Epoch: a.epoch, Opening: a.opening, Root: s.root.sequence, Sequence: s.log.durable,
		Hash: anchorHash(s.volume, a.root, s.log.durableChain),
	}
}

// anchorCommit tells the anchor of all batches up to want, if it is to know
// before a Commit returns.
func (s *Store) anchorCommit(ctx context.Context, want uint64) error {
	if s.anchor.to == nil || s.options.AnchorEvery != AnchorEveryCommit {
		return nil
	}
	return s.advance(ctx, func() bool { return s.anchor.confirmed.Sequence >= want })
}

// anchorNow tells the anchor of all that is durable.
func (s *Store) anchorNow(ctx context.Context) error {
	if s.anchor.to == nil {
		return nil
	}
	return s.advance(ctx, func() bool { return s.anchor.confirmed == s.point() })
}

// advance asks the anchor to take the present point until enough, called with
// mu held, is satisfied. Who waits for the lock mostly finds that it is.
func (s *Store) advance(ctx context.Context, enough func() bool) error {
	s.anchor.mu.Lock()
	defer s.anchor.mu.Unlock()
	for {
		s.mu.Lock()
		if err := s.usable(); err != nil {
			s.mu.Unlock()
			return err
		}
		// What was asked for before may yet be taken: it comes first.
		if (s.anchor.pending == AnchorState{}) {
			if enough() {
				s.mu.Unlock()
				return nil
			}
			s.anchor.pending = s.point()
		}
		s.mu.Unlock()
		if err := s.settle(ctx); err != nil {
			return err
		}
	}
}

// How often an anchor that does not answer is asked again.
const (
	defaultAnchorWait = 30 * time.Second
	firstAnchorPause  = 20 * time.Millisecond
	maxAnchorPause    = 2 * time.Second
)

// settle asks the anchor to take the pending state until it is certain that it
// has. If it can't be reached for long, or has another state, the volume takes
// no more changes. A cancelled caller leaves the question to the next one.
// Callers hold anchor.mu.
func (s *Store) settle(ctx context.Context) error {
	s.mu.Lock()
	old, next := s.anchor.confirmed, s.anchor.pending
	s.mu.Unlock()
	pause := firstAnchorPause
	for deadline := time.Now().Add(s.options.AnchorWait); ; pause = min(2*pause, maxAnchorPause) {
		err := s.offer(ctx, old, next)
		switch {
		case err == nil:
			s.mu.Lock()
			s.anchor.confirmed, s.anchor.pending = next, AnchorState{}
			s.mu.Unlock()
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrForked), errors.Is(err, ErrAnchorOther):
			return s.failNow(err)
		case !time.Now().Add(pause).Before(deadline):
			return s.failNow(fmt.Errorf("%w for %v: %w", ErrAnchorUnavailable, s.options.AnchorWait, err))
		}
		s.logger.Warn("the anchor does not answer", "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// offer asks the anchor once to take a state. ErrForked if it has one that is
// neither the old nor the new.
func (s *Store) offer(ctx context.Context, old, next AnchorState) error {
	err := s.anchor.to.Advance(ctx, s.volume, old, next)
	if !errors.Is(err, ErrAnchorConflict) {
		return err
	}
	now, readErr := s.anchor.to.Read(ctx, s.volume)
	switch {
	case errors.Is(readErr, ErrAnchorEmpty):
		return fmt.Errorf("%w: the anchor has lost what it knew of the volume", ErrForked)
	case readErr != nil:
		return readErr
	case now == next: // an earlier attempt was not in vain
		return nil
	case now == old:
		return err
	}
	return fmt.Errorf("%w: it was opened for writing somewhere else as well: the anchor is at epoch %d, this opening is epoch %d",
		ErrForked, now.Epoch, next.Epoch)
}

// anchorLoop tells the anchor how far the volume has come, every so often,
// until ctx ends.
func (s *Store) anchorLoop(ctx context.Context) {
	if s.anchor.to == nil || s.options.AnchorEvery <= 0 {
		return
	}
	tick := time.NewTicker(s.options.AnchorEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.Err() == nil {
				s.warn(ctx, "anchor", s.anchorNow(ctx))
			}
		}
	}
}

// rootAnchor is what a root says of the anchor, so that it is known for a
// successor of the point that the anchor has.
type rootAnchor struct {
	previous  [32]byte    // hash of the sealed root before
	confirmed AnchorState // what the anchor had
	pending   AnchorState // what it may have had; zero if nothing
}

const rootAnchorSize = 32 + 2*anchorStateSize

func (a rootAnchor) append(b []byte) []byte {
	b = append(b, a.previous[:]...)
	return a.pending.append(a.confirmed.append(b))
}

func decodeRootAnchor(b []byte) *rootAnchor {
	return &rootAnchor{
		previous:  [32]byte(b[:32]),
		confirmed: decodeAnchorState(b[32:]),
		pending:   decodeAnchorState(b[32+anchorStateSize:]),
	}
}

// rootAnchor returns what the next root is to say, nil without an anchor. The log
// must be durable up to where that root's begins: so no later question to the
// anchor names a point before it.
func (s *Store) rootAnchor() *rootAnchor {
	if s.anchor.to == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &rootAnchor{s.anchor.root, s.anchor.confirmed, s.anchor.pending}
}

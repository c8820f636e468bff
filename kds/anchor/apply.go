package anchor

import (
	"context"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/kds"
)

// Apply does what a request asks for, whose MACs were checked, and gives the
// answer without its MAC. owner is the asker's spec. ErrFull; any other error
// means that it is unknown whether it was done.
func Apply(ctx context.Context, s Store, r kds.AnchorRequest, owner Owner) (kds.AnchorAnswer, error) {
	v := kds.VolumeID(r.Volume)
	old, err := s.Get(ctx, v)
	if err != nil {
		return kds.AnchorAnswer{}, fmt.Errorf("get anchor record: %w", err)
	}
	if a, ok := present(r, old, owner); ok {
		return a, nil
	}
	next, err := successor(r, old, owner)
	if err != nil {
		return kds.AnchorAnswer{}, err
	}
	if next == old { // it does not go forward
		return answer(kds.AnchorConflict, old), nil
	}
	switch err := s.Swap(ctx, v, old, next); {
	case errors.Is(err, ErrConflict):
		return kds.AnchorAnswer{}, fmt.Errorf("%w: ask again", err)
	case err != nil:
		return kds.AnchorAnswer{}, fmt.Errorf("swap anchor record: %w", err)
	}
	return answer(kds.AnchorOK, next), nil
}

// present answers what needs no change.
func present(r kds.AnchorRequest, old Record, owner Owner) (kds.AnchorAnswer, bool) {
	switch {
	case old == Record{} && r.Op == kds.AnchorAdvance && r.Version == 0:
		return kds.AnchorAnswer{}, false
	case old == Record{}:
		return kds.AnchorAnswer{Status: kds.AnchorNone}, true
	case old.Owner != owner:
		return kds.AnchorAnswer{Status: kds.AnchorOther}, true
	case r.Op == kds.AnchorRead:
		return answer(kds.AnchorOK, old), true
	case r.Version != old.Version:
		return answer(kds.AnchorConflict, old), true
	}
	return kds.AnchorAnswer{}, false
}

// successor is the record that takes the place of old; old itself if what is
// asked for would not go forward.
func successor(r kds.AnchorRequest, old Record, owner Owner) (Record, error) {
	next := Record{Owner: owner, Version: old.Version + 1, State: old.State}
	if r.Op == kds.AnchorMove {
		next.Owner = Owner(r.To.Spec.Hash())
		return next, nil
	}
	state, err := kds.ParseAnchorState(r.State)
	if err != nil {
		return Record{}, err
	}
	if (old != Record{} && !state.Follows(old.State)) {
		return old, nil
	}
	next.State = state
	return next, nil
}

func answer(s kds.AnchorStatus, r Record) kds.AnchorAnswer {
	return kds.AnchorAnswer{Status: s, Version: r.Version, State: r.State.Append(nil)}
}

package attest

import (
	"context"
	"fmt"
)

// Verifiers reads evidence of several formats. A format that is not in it is
// refused by name.
type Verifiers map[Format]Verifier

// Verify implements Verifier.
func (v Verifiers) Verify(ctx context.Context, e Evidence) (Report, error) {
	one, ok := v[e.Format]
	if !ok {
		return Report{}, fmt.Errorf("%w: format %q is not accepted here", ErrEvidence, clip(string(e.Format)))
	}
	if len(e.Data) > MaxEvidenceSize {
		return Report{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrEvidence, len(e.Data), MaxEvidenceSize)
	}
	r, err := one.Verify(ctx, e)
	if err != nil {
		return Report{}, err
	}
	if err := r.Identity.Check(); err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return r, nil
}

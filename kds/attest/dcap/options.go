package dcap

import (
	"context"
	"crypto/x509"
	"time"
)

// Source finds the collateral of a platform for quotes that come without. Its
// answers are not trusted.
type Source interface {
	Collateral(ctx context.Context, p Platform) (Collateral, error)
}

// Options of a verifier. The zero value is the safe one.
type Options struct {
	// Roots are trusted instead of Intel's. Default none. Danger: whoever has
	// the key of one can make every quote; it is for tests.
	Roots []*x509.Certificate
	// MinEvaluationNumber is the least evaluation data number of TCB info and
	// QE identity. Default 0, any.
	MinEvaluationNumber uint32
	// Floor gives another least number, which may rise while the verifier
	// runs; the larger of both counts. Default none.
	Floor func() uint32
	// Memory knows the newest collateral. Default one that ends with the
	// process. Whoever has an SGX machine can move it, with newer collateral of
	// Intel's: then older collateral is refused, also that of others.
	Memory Memory
	// Source gives the collateral for attest.FormatOpenEnclave. Default none:
	// such evidence is refused.
	Source Source
	// Now is the clock. Default time.Now. It may not go back behind the dates
	// in Memory.
	Now func() time.Time
}

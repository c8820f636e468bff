// Package dcap verifies SGX quotes of DCAP, versions 3 and 4, with the standard
// library only.
//
// A quote is believed by these steps, in this order:
//
//	quote        its bytes, to the last one                        quote.go
//	chain        PCK certificate, its CA, the pinned Intel root    chain.go, pck.go
//	signatures   PCK -> quoting enclave -> attestation key -> report   signed.go
//	collateral   TCB info, QE identity, revocation lists: signed   statements.go
//	dates        of every certificate, list and statement          period.go
//	revocation   of every certificate                              revocation.go
//	floor        of the evaluation data numbers                    statements.go
//	worth        TCB level of platform and quoting enclave, merged verdict.go
//	memory       nothing is older than the newest that was seen    memory.go
//
// It promises that a Verdict is returned only if all of them hold, and that
// every refusal is an attest.ErrEvidence that says which check failed. A status
// is never there by default. A debug enclave has mode debug and level INSECURE,
// whatever its platform is worth; a revoked platform has level INSECURE.
//
// It refuses quotes of TDX, keys other than ECDSA P-256, encrypted PPIDs,
// missing revocation lists, and whatever is larger than its limits.
//
// A quote does not say when it was made. The time of an identity is therefore
// the older of the issue dates of TCB info and QE identity: no older knowledge
// was used, and about anything later nothing is known. So EXPIRE in a policy
// bounds how old the collateral may be; that a quote is fresh is told by its
// report data.
//
// Imported by kds/attest/platform and cmd/coffer-kds. Imports key, kds/attest
// and strictjson.
package dcap

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/key"
)

// Limits of what is read.
const (
	// MaxQuoteBytes is the largest quote.
	MaxQuoteBytes = 16 << 10
	// MaxChainBytes is the longest chain of certificates in PEM.
	MaxChainBytes = 16 << 10
	// MaxCRLBytes is the largest revocation list.
	MaxCRLBytes = 32 << 10
	// MaxStatementBytes is the longest TCB info or QE identity.
	MaxStatementBytes = 32 << 10
	// MaxCollateralBytes is the longest JSON of collateral.
	MaxCollateralBytes = 256 << 10
	// MaxLevels is how many levels TCB info or QE identity may have.
	MaxLevels = 256
	// MaxAdvisories is how many advisories a level may have.
	MaxAdvisories = 256
	// MaxAdvisoryBytes is the longest name of an advisory.
	MaxAdvisoryBytes = 64
	// MaxCached is how many chains, and how many sets of collateral, are kept.
	MaxCached = 64
	// MaxSubjects is how many subjects the memory of a process has.
	MaxSubjects = 4096
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

// Verifier verifies quotes. Methods may be called at once.
type Verifier struct {
	o      Options
	roots  roots
	pcks   cache[*pck]
	read   cache[*statements]
	noList bool // revocation lists are not read: vectors without any, in tests
}

var _ attest.Verifier = (*Verifier)(nil)

// New makes a verifier.
func New(o Options) *Verifier {
	if o.Memory == nil {
		o.Memory = NewMemory()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Verifier{o: o, roots: newRoots(o.Roots)}
}

// Verify implements attest.Verifier for attest.FormatSGXQuote, and for
// attest.FormatOpenEnclave if there is a Source.
func (v *Verifier) Verify(ctx context.Context, e attest.Evidence) (attest.Report, error) {
	verdict, err := v.Evidence(ctx, e)
	return verdict.Report, err
}

// Evidence is Verify with all that was found.
func (v *Verifier) Evidence(ctx context.Context, e attest.Evidence) (Verdict, error) {
	switch e.Format {
	case attest.FormatSGXQuote:
		quote, c, err := ParseEvidence(e.Data)
		if err != nil {
			return Verdict{}, err
		}
		return v.Quote(ctx, quote, c)
	case attest.FormatOpenEnclave:
		quote, err := OpenEnclaveQuote(e.Data)
		if err != nil {
			return Verdict{}, err
		}
		return v.bare(ctx, quote)
	}
	return Verdict{}, fmt.Errorf("%w: format %q", ErrQuote, clip(string(e.Format)))
}

// bare verifies a quote without collateral. The source is asked only for
// platforms that Intel knows.
func (v *Verifier) bare(ctx context.Context, quote []byte) (Verdict, error) {
	if v.o.Source == nil {
		return Verdict{}, fmt.Errorf("%w: the quote has none, and there is no source of it", ErrCollateral)
	}
	_, p, err := v.platform(quote, "")
	if err != nil {
		return Verdict{}, err
	}
	c, err := v.o.Source.Collateral(ctx, p.platform())
	if err != nil {
		return Verdict{}, fmt.Errorf("get collateral of platform %s: %w", p.info.fmspc, err)
	}
	return v.Quote(ctx, quote, c)
}

// Quote verifies a quote with its collateral.
func (v *Verifier) Quote(ctx context.Context, quote []byte, c Collateral) (Verdict, error) {
	q, p, err := v.platform(quote, c.PCKChain)
	if err != nil {
		return Verdict{}, err
	}
	s, err := v.statements(c)
	if err != nil {
		return Verdict{}, err
	}
	now, err := v.now(ctx)
	if err != nil {
		return Verdict{}, err
	}
	if err := s.checkDates(now, p); err != nil {
		return Verdict{}, err
	}
	if err := s.checkRevoked(p); err != nil {
		return Verdict{}, err
	}
	if err := s.checkFloor(v.o.MinEvaluationNumber); err != nil {
		return Verdict{}, err
	}
	verdict, err := judge(q, p, s)
	if err != nil {
		return Verdict{}, err
	}
	if err := v.o.Memory.Advance(ctx, s.marks()); err != nil {
		return Verdict{}, err
	}
	return verdict, nil
}

// platform reads a quote and verifies it up to the root, but for dates and
// revocation.
func (v *Verifier) platform(quote []byte, beside string) (Quote, *pck, error) {
	q, err := ParseQuote(quote)
	if err != nil {
		return q, nil, err
	}
	text, err := q.Certification.chain(beside)
	if err != nil {
		return q, nil, err
	}
	p, err := v.pcks.get([]byte(text), func() (*pck, error) { return v.roots.readPCK(text) })
	if err != nil {
		return q, nil, err
	}
	return q, p, q.verify(p)
}

// statements reads collateral, or finds it among what was read.
func (v *Verifier) statements(c Collateral) (*statements, error) {
	c.PCKChain = ""
	return v.read.get(key.Info("", c.parts()...), func() (*statements, error) {
		return v.roots.readStatements(c, !v.noList)
	})
}

// now is the time, or an error if it is earlier than collateral that was seen.
func (v *Verifier) now(ctx context.Context) (time.Time, error) {
	now := v.o.Now()
	newest, err := v.o.Memory.Newest(ctx)
	if err == nil && now.Before(newest) {
		err = fmt.Errorf("%w: the clock says %s, and collateral of %s was seen", ErrDate, stamp(now), stamp(newest))
	}
	return now, err
}

package dcap

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/key"
)

// Verifier verifies quotes. Methods may be called at once.
type Verifier struct {
	o      Options
	roots  roots
	pcks   cache[*pck]
	keys   cache[*ecdsa.PublicKey] // attestation keys
	read   cache[*statements]
	noList bool // revocation lists are not read: vectors without any, in tests
}

// New makes a verifier.
func New(o Options) *Verifier {
	if o.Memory == nil {
		o.Memory = NewMemory()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Verifier{o: o, roots: newRoots(o.Roots), pcks: cache[*pck]{most: MaxMachines},
		keys: cache[*ecdsa.PublicKey]{most: MaxMachines}, read: cache[*statements]{most: MaxCollateral}}
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
// platforms that Intel knows. If it has none, or none that will do, that says
// nothing of the quote: ErrUnavailable.
func (v *Verifier) bare(ctx context.Context, quote []byte) (Verdict, error) {
	if v.o.Source == nil {
		return Verdict{}, fmt.Errorf("%w: the quote has none, and there is no source of it", ErrCollateral)
	}
	q, p, err := v.platform(quote, "")
	if err != nil {
		return Verdict{}, err
	}
	now, err := v.now(ctx)
	if err != nil {
		return Verdict{}, err
	}
	if err := checkPeriods(now, p.chain.periods()); err != nil {
		return Verdict{}, err
	}
	c, err := v.o.Source.Collateral(ctx, p.platform())
	if err != nil {
		return Verdict{}, fmt.Errorf("%w: get collateral of platform %s: %w", attest.ErrUnavailable, p.info.fmspc, err)
	}
	verdict, err := v.with(ctx, q, p, c)
	if r := refusal(""); errors.As(err, &r) && !r.blamesQuote() {
		return Verdict{}, fmt.Errorf("%w: collateral that was got for platform %s: %v", attest.ErrUnavailable, p.info.fmspc, err)
	}
	return verdict, err
}

// Quote verifies a quote with its collateral.
func (v *Verifier) Quote(ctx context.Context, quote []byte, c Collateral) (Verdict, error) {
	q, p, err := v.platform(quote, c.PCKChain)
	if err != nil {
		return Verdict{}, err
	}
	return v.with(ctx, q, p, c)
}

// with is what remains once all that the quote itself says was found right.
func (v *Verifier) with(ctx context.Context, q Quote, p *pck, c Collateral) (Verdict, error) {
	s, err := v.statements(c)
	if err != nil {
		return Verdict{}, err
	}
	if err := v.check(ctx, p, s); err != nil {
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

// check is all that may be another tomorrow.
func (v *Verifier) check(ctx context.Context, p *pck, s *statements) error {
	now, err := v.now(ctx)
	if err != nil {
		return err
	}
	if err := s.checkDates(now, p); err != nil {
		return err
	}
	if err := s.checkRevoked(p); err != nil {
		return err
	}
	floor := v.o.MinEvaluationNumber
	if v.o.Floor != nil {
		floor = max(floor, v.o.Floor())
	}
	return s.checkFloor(floor)
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
	return q, p, q.verify(p, &v.keys)
}

// statements reads collateral, or finds it among what was read.
func (v *Verifier) statements(c Collateral) (*statements, error) {
	c.PCKChain = ""
	return v.read.get(key.Info("", c.parts()...), func() (*statements, error) {
		return v.roots.readStatements(c, !v.noList)
	})
}

// now is the time, or ErrUnavailable if it is earlier than collateral that was seen:
// then it is this machine's clock that is wrong.
func (v *Verifier) now(ctx context.Context) (time.Time, error) {
	now := v.o.Now()
	newest, err := v.o.Memory.Newest(ctx)
	if err == nil && now.Before(newest) {
		err = fmt.Errorf("%w: the clock says %s, and collateral of %s was seen", attest.ErrUnavailable, stamp(now), stamp(newest))
	}
	return now, err
}

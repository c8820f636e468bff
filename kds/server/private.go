package server

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/key"
)

// private gives a key. See the package comment for the steps.
func (s *Server) private(w http.ResponseWriter, r *http.Request) (any, error) {
	body, err := s.body(w, r)
	if err != nil {
		return nil, err
	}
	var q asked
	if err := s.work(r.Context(), func() (err error) { q, err = s.ask(r.Context(), body); return err }); err != nil {
		return nil, err
	}
	if err := s.record(q); err != nil {
		return nil, fmt.Errorf("no key without audit: %w", err)
	}
	s.metrics.decided(q.verdict)
	if q.verdict != nil {
		return nil, q.verdict
	}
	var a kds.PrivateAnswer
	err = s.work(r.Context(), func() (err error) { a, err = s.answer(q); return err })
	return a, err
}

// asked is a request with valid evidence, and what was decided of it.
type asked struct {
	kds.PrivateRequest
	hash    kds.RequestHash
	by      attest.Identity
	master  key.Key        // if there is no verdict
	g       kds.Generation // of the master key
	verdict error          // why no key is given
}

// ask reads a request, and decides.
func (s *Server) ask(ctx context.Context, body []byte) (a asked, err error) {
	if a.PrivateRequest, err = kds.DecodePrivateRequest(body); err != nil {
		return a, malformed(err)
	}
	a.hash = a.Hash()
	if a.by, err = s.identify(ctx, a.Evidence, a.hash); err != nil {
		return a, err
	}
	if err := s.rates.by(a.by); err != nil {
		return a, err
	}
	a.master, a.g, a.verdict = s.decide(ctx, a.Spec, a.Generation, a.by)
	return a, nil
}

// identify says who asks: evidence counts only for the request that it was
// made over.
func (s *Server) identify(ctx context.Context, e attest.Evidence, request kds.RequestHash) (attest.Identity, error) {
	report, err := s.o.Verifier.Verify(ctx, e)
	switch {
	case errors.Is(err, attest.ErrUnavailable):
		return attest.Identity{}, fmt.Errorf("verify evidence: %w", err) // whatever else it is
	case errors.Is(err, attest.ErrEvidence):
		return attest.Identity{}, refuse(http.StatusForbidden, "%v", err)
	case err != nil:
		return attest.Identity{}, fmt.Errorf("verify evidence: %w", err)
	case report.ReportData != attest.ReportData(request):
		return attest.Identity{}, refuse(http.StatusForbidden, "%v: it is not for this request", attest.ErrEvidence)
	}
	if err := report.Identity.Check(); err != nil {
		return attest.Identity{}, refuse(http.StatusForbidden, "%v", err)
	}
	return report.Identity, nil
}

// record writes the decision down.
func (s *Server) record(a asked) error {
	e := audit.Entry{
		Event: audit.Released,
		Asker: &audit.Asker{CodeHash: string(a.by.CodeHash), Signer: string(a.by.SignerHash), ProductID: a.by.ProductID,
			RevocationLevel: a.by.RevocationLevel, Level: a.by.Level.String(), Mode: a.by.Mode.String()},
		Key: keyOf(a.Spec, a.Purpose, a.g),
	}
	e.Key.RequestHash = hex.EncodeToString(a.hash[:])
	if a.verdict != nil {
		e.Event, e.Reason = audit.Refused, a.verdict.Error()
	}
	return s.o.Audit.Append(e)
}

func (s *Server) answer(q asked) (kds.PrivateAnswer, error) {
	k := kds.Derive(q.master, q.g, q.Spec, q.Purpose)
	defer k.Destroy()
	sealed, err := q.SealKey(k)
	if err != nil {
		return kds.PrivateAnswer{}, fmt.Errorf("seal key: %w", err)
	}
	a := kds.PrivateAnswer{Spec: q.Spec, Purpose: q.Purpose, Generation: q.g, SealedKey: sealed}
	a.Signed = s.response.sign(a.SignedBytes(q.hash))
	return a, nil
}

// public gives a public key to anyone. Nothing secret leaves, so nothing is
// audited.
func (s *Server) public(w http.ResponseWriter, r *http.Request) (any, error) {
	body, err := s.body(w, r)
	if err != nil {
		return nil, err
	}
	var a kds.PublicAnswer
	err = s.work(r.Context(), func() (err error) { a, err = s.pair(r.Context(), body); return err })
	return a, err
}

func (s *Server) pair(ctx context.Context, body []byte) (a kds.PublicAnswer, err error) {
	q, err := kds.DecodePublicRequest(body)
	if err != nil {
		return a, malformed(err)
	}
	mk, g, err := s.master(ctx, q.Spec.MasterKeyType, q.Generation)
	if err != nil {
		return a, err
	}
	k := kds.Derive(mk, g, q.Spec, q.Purpose)
	defer k.Destroy()
	pair, err := kds.KeyPair(k)
	if err != nil {
		return a, fmt.Errorf("make key pair: %w", err)
	}
	a = kds.PublicAnswer{Spec: q.Spec, Purpose: q.Purpose, Generation: g, HPKEPublicKey: pair.PublicKey().Bytes()}
	a.Signed = s.response.sign(a.SignedBytes())
	return a, nil
}

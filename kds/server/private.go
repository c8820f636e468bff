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
	if !s.working.wait(r.Context(), MaxQueueTime) {
		return nil, refuse(http.StatusServiceUnavailable, "the node is busy")
	}
	defer s.working.give()
	q, err := kds.DecodePrivateRequest(body)
	if err != nil {
		return nil, malformed(err)
	}
	id, err := s.identify(r.Context(), q)
	if err != nil {
		return nil, err
	}
	if err := s.rates.by(id); err != nil {
		return nil, err
	}
	mk, g, verdict := s.decide(r.Context(), q.Spec, q.Generation, id)
	if err := s.record(q, g, id, verdict); err != nil {
		return nil, fmt.Errorf("no key without audit: %w", err)
	}
	s.metrics.decided(verdict)
	if verdict != nil {
		return nil, verdict
	}
	return s.answer(mk, g, q)
}

// identify says who asks: evidence counts only for the request that it was
// made over.
func (s *Server) identify(ctx context.Context, q kds.PrivateRequest) (attest.Identity, error) {
	report, err := s.o.Verifier.Verify(ctx, q.Evidence)
	switch {
	case errors.Is(err, attest.ErrEvidence):
		return attest.Identity{}, refuse(http.StatusForbidden, "%v", err)
	case err != nil:
		return attest.Identity{}, fmt.Errorf("verify evidence: %w", err)
	case report.ReportData != attest.ReportData(q.Hash()):
		return attest.Identity{}, refuse(http.StatusForbidden, "%v: it is not for this request", attest.ErrEvidence)
	}
	if err := report.Identity.Check(); err != nil {
		return attest.Identity{}, refuse(http.StatusForbidden, "%v", err)
	}
	return report.Identity, nil
}

// record writes the decision down.
func (s *Server) record(q kds.PrivateRequest, g kds.Generation, id attest.Identity, verdict error) error {
	request := q.Hash()
	e := audit.Entry{
		Event: audit.Released,
		Asker: &audit.Asker{CodeHash: string(id.CodeHash), Signer: string(id.SignerHash), ProductID: id.ProductID,
			RevocationLevel: id.RevocationLevel, Level: id.Level.String(), Mode: id.Mode.String()},
		Key: keyOf(q.Spec, q.Purpose, g),
	}
	e.Key.RequestHash = hex.EncodeToString(request[:])
	if verdict != nil {
		e.Event, e.Reason = audit.Refused, verdict.Error()
	}
	return s.o.Audit.Append(e)
}

func (s *Server) answer(mk key.Key, g kds.Generation, q kds.PrivateRequest) (kds.PrivateAnswer, error) {
	k := kds.Derive(mk, g, q.Spec, q.Purpose)
	defer k.Destroy()
	sealed, err := q.SealKey(k)
	if err != nil {
		return kds.PrivateAnswer{}, fmt.Errorf("seal key: %w", err)
	}
	a := kds.PrivateAnswer{Spec: q.Spec, Purpose: q.Purpose, Generation: g, SealedKey: sealed}
	a.Signed = s.response.sign(a.SignedBytes(q.Hash()))
	return a, nil
}

// public gives a public key to anyone. Nothing secret leaves, so nothing is
// audited.
func (s *Server) public(w http.ResponseWriter, r *http.Request) (any, error) {
	body, err := s.body(w, r)
	if err != nil {
		return nil, err
	}
	if !s.working.wait(r.Context(), MaxQueueTime) {
		return nil, refuse(http.StatusServiceUnavailable, "the node is busy")
	}
	defer s.working.give()
	q, err := kds.DecodePublicRequest(body)
	if err != nil {
		return nil, malformed(err)
	}
	mk, g, err := s.master(r.Context(), q.Spec.MasterKeyType, q.Generation)
	if err != nil {
		return nil, err
	}
	k := kds.Derive(mk, g, q.Spec, q.Purpose)
	defer k.Destroy()
	pair, err := kds.KeyPair(k)
	if err != nil {
		return nil, fmt.Errorf("make key pair: %w", err)
	}
	a := kds.PublicAnswer{Spec: q.Spec, Purpose: q.Purpose, Generation: g, HPKEPublicKey: pair.PublicKey().Bytes()}
	a.Signed = s.response.sign(a.SignedBytes())
	return a, nil
}

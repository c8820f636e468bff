package server

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
)

// responder signs answers with a key that lives as long as the node, and shows
// evidence over that key.
type responder struct {
	key      ed25519.PrivateKey
	platform attest.Platform
	now      func() time.Time
	logger   *slog.Logger

	mu       sync.Mutex // guards evidence and made; held while quoting
	evidence attest.Evidence
	made     time.Time
}

func newResponder(p attest.Platform, now func() time.Time, l *slog.Logger) (*responder, error) {
	_, sk, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	r := &responder{key: sk, platform: p, now: now, logger: l}
	if err := r.renew(); err != nil {
		return nil, fmt.Errorf("make evidence of the KDS node: %w", err)
	}
	return r, nil
}

func (r *responder) public() ed25519.PublicKey { return r.key.Public().(ed25519.PublicKey) }

// renew makes new evidence. r.mu is held, or nobody else knows r.
func (r *responder) renew() error {
	e, err := r.platform.Quote(kds.ResponseKeyData(r.public()))
	if err == nil {
		r.evidence, r.made = e, r.now()
	}
	return err
}

// attestation is the response key with evidence that is not too old. If no new
// evidence can be made, the old is shown: whether it will do is the asker's
// decision.
func (r *responder) attestation() kds.Attestation {
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := r.now().Sub(r.made); age > EvidenceMaxAge || age < 0 {
		if err := r.renew(); err != nil {
			r.logger.Error("renew evidence", "error", err)
		}
	}
	return kds.Attestation{ResponseKey: r.public(), Evidence: r.evidence}
}

func (r *responder) sign(signed []byte) kds.Signed {
	return kds.Signed{Attestation: r.attestation(), Signature: ed25519.Sign(r.key, signed)}
}

func (s *Server) attestation(http.ResponseWriter, *http.Request) (any, error) {
	return s.response.attestation(), nil
}

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

// witness shows evidence of the node over one thing.
type witness struct {
	platform attest.Platform
	data     attest.ReportData
	now      func() time.Time
	logger   *slog.Logger

	mu   sync.Mutex // guards what follows; held while quoting
	last attest.Evidence
	made time.Time
}

func newWitness(p attest.Platform, data attest.ReportData, now func() time.Time, l *slog.Logger) *witness {
	return &witness{platform: p, data: data, now: now, logger: l}
}

// renew makes new evidence. w.mu is held, or nobody else knows w.
func (w *witness) renew() error {
	e, err := w.platform.Quote(w.data)
	if err == nil {
		w.last, w.made = e, w.now()
	}
	return err
}

// evidence is not too old. If no new one can be made, the old is shown: whether
// it will do is the asker's decision.
func (w *witness) evidence() attest.Evidence {
	w.mu.Lock()
	defer w.mu.Unlock()
	if age := w.now().Sub(w.made); age > EvidenceMaxAge || age < 0 {
		if err := w.renew(); err != nil {
			w.logger.Error("renew evidence", "error", err)
		}
	}
	return w.last
}

// responder signs answers with a key that lives as long as the node, and shows
// evidence over that key.
type responder struct {
	key     ed25519.PrivateKey
	witness *witness
}

func newResponder(p attest.Platform, now func() time.Time, l *slog.Logger) (*responder, error) {
	public, sk, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	r := &responder{sk, newWitness(p, kds.ResponseKeyData(public), now, l)}
	if err := r.witness.renew(); err != nil {
		return nil, fmt.Errorf("make evidence of the KDS node: %w", err)
	}
	return r, nil
}

func (r *responder) attestation() kds.Attestation {
	return kds.Attestation{ResponseKey: r.key.Public().(ed25519.PublicKey), Evidence: r.witness.evidence()}
}

func (r *responder) sign(signed []byte) kds.Signed {
	return kds.Signed{Attestation: r.attestation(), Signature: ed25519.Sign(r.key, signed)}
}

func (s *Server) attestation(http.ResponseWriter, *http.Request) (any, error) {
	return s.response.attestation(), nil
}

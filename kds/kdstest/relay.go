package kdstest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
)

// Relay is a hostile network between a client and a KDS: it keeps all that
// passes, and changes what it likes.
type Relay struct {
	URL string
	// Request and Answer, if set, change the bodies of /private and /public.
	Request func([]byte) []byte
	Answer  func([]byte) []byte

	Requests, Answers [][]byte // before the change
}

// NewRelay starts a relay before k, for one request at a time.
func (k *KDS) NewRelay(t testing.TB) *Relay {
	t.Helper()
	r := &Relay{}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r.Requests = append(r.Requests, body)
		if r.Request != nil {
			body = r.Request(body)
		}
		status, answer := k.Post(t, q.URL.Path, body)
		r.Answers = append(r.Answers, answer)
		if r.Answer != nil {
			answer = r.Answer(answer)
		}
		w.WriteHeader(status)
		_, _ = w.Write(answer)
	}))
	t.Cleanup(h.Close)
	r.URL = h.URL
	return r
}

// Post sends a body to the KDS and returns the answer.
func (k *KDS) Post(t testing.TB, path string, body []byte) (status int, answer []byte) {
	t.Helper()
	q, err := http.NewRequest(http.MethodPost, k.URL+path, bytes.NewReader(body))
	must(t, err)
	q.Header.Set(kds.VersionHeader, kds.Version)
	a, err := k.HTTP.Do(q)
	must(t, err)
	defer a.Body.Close()
	answer, err = io.ReadAll(a.Body)
	must(t, err)
	return a.StatusCode, answer
}

// Edit makes a change of a body out of a change of its fields.
func Edit[T any](t testing.TB, change func(*T)) func([]byte) []byte {
	return func(b []byte) []byte {
		var v T
		if err := json.Unmarshal(b, &v); err != nil {
			t.Errorf("edit %s: %v", b, err)
		}
		change(&v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		return b
	}
}

// Signer is an attested response key in the hands of a test.
type Signer struct {
	key ed25519.PrivateKey
	kds.Attestation
}

// NewSigner makes a response key with evidence of p.
func NewSigner(t testing.TB, p attest.Platform) Signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	e, err := p.Quote(kds.ResponseKeyData(public))
	must(t, err)
	return Signer{private, kds.Attestation{ResponseKey: public, Evidence: e}}
}

// Sign signs as a KDS.
func (s Signer) Sign(b []byte) kds.Signed {
	return kds.Signed{Attestation: s.Attestation, Signature: ed25519.Sign(s.key, b)}
}

// Liar is a KDS, with evidence of p, that gives every enclave that asks
// whatever answer makes of its request, well signed.
func Liar(t testing.TB, p attest.Platform, answer func(kds.PrivateRequest) kds.PrivateAnswer) string {
	t.Helper()
	signer := NewSigner(t, p)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r, err := kds.DecodePrivateRequest(body)
		if err != nil {
			t.Error(err)
		}
		a := answer(r)
		a.Signed = signer.Sign(a.SignedBytes(r.Hash()))
		_ = json.NewEncoder(w).Encode(a)
	}))
	t.Cleanup(h.Close)
	return h.URL
}

package kds

import (
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha512"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/internal/strictjson"
	"github.com/coffer-fs/coffer/key"
)

// The API's version, sent in a header with every request.
const (
	VersionHeader = "API-VERSION"
	Version       = "1"
)

// RequestHash stands for a request: evidence is made over it, the key is
// sealed with it, the answer is signed with it.
type RequestHash [sha512.Size]byte

// PrivateRequest asks for a key: the body of POST /private.
type PrivateRequest struct {
	Spec          Spec            `json:"spec"`
	Purpose       Purpose         `json:"purpose"`
	Generation    Generation      `json:"generation,omitempty"`
	HPKEPublicKey []byte          `json:"hpkePublicKey"`
	Evidence      attest.Evidence `json:"evidence"`

	public hpke.PublicKey // HPKEPublicKey as DecodePrivateRequest read it, or nil
}

// PrivateAnswer is the answer to it.
type PrivateAnswer struct {
	Spec       Spec       `json:"spec"`
	Purpose    Purpose    `json:"purpose"`
	Generation Generation `json:"generation"`
	SealedKey  []byte     `json:"sealedKey"`
	Signed
}

// PublicRequest asks for a public key: the body of POST /public.
type PublicRequest struct {
	Spec Spec `json:"spec"`
	// Purpose is mail or handover. Default mail.
	Purpose    Purpose    `json:"purpose,omitempty"`
	Generation Generation `json:"generation,omitempty"`
}

// PublicAnswer is the answer to it.
type PublicAnswer struct {
	Spec          Spec       `json:"spec"`
	Purpose       Purpose    `json:"purpose"`
	Generation    Generation `json:"generation"`
	HPKEPublicKey []byte     `json:"hpkePublicKey"`
	Signed
}

// Attestation is the answer to GET /attestation: the key that a node signs its
// answers with, and evidence over that key.
type Attestation struct {
	ResponseKey []byte          `json:"responseKey"`
	Evidence    attest.Evidence `json:"evidence"`
}

// Signed is the end of every answer: who signed it, and the signature.
type Signed struct {
	Attestation
	Signature []byte `json:"signature"`
}

// Refusal is the body of every answer that is none.
type Refusal struct {
	Reason string `json:"reason"`
}

// Hash is what the request's evidence is made over. It covers everything but
// the evidence.
func (r PrivateRequest) Hash() RequestHash {
	return sha512.Sum512(key.Info(requestLabel, append(names(r.Spec, r.Purpose, r.Generation), r.HPKEPublicKey)...))
}

// SignedBytes is what the answer's signature is made over.
func (a PrivateAnswer) SignedBytes(h RequestHash) []byte {
	return key.Info(answerLabel, append([][]byte{h[:]}, append(names(a.Spec, a.Purpose, a.Generation), a.SealedKey)...)...)
}

// SignedBytes is what the answer's signature is made over.
func (a PublicAnswer) SignedBytes() []byte {
	return key.Info(publicLabel, append(names(a.Spec, a.Purpose, a.Generation), a.HPKEPublicKey)...)
}

// ResponseKeyData is what a node's evidence is made over.
func ResponseKeyData(k ed25519.PublicKey) attest.ReportData {
	return sha512.Sum512(key.Info(responseKeyLabel, k))
}

// names are the fields that say which key is meant; the policy as it was sent.
func names(s Spec, p Purpose, g Generation) [][]byte {
	return [][]byte{[]byte(s.Name), []byte(s.MasterKeyType), []byte(s.PolicyConstraint.String()), []byte(p), g.bytes()}
}

// DecodePrivateRequest reads and checks the body of POST /private.
func DecodePrivateRequest(b []byte) (r PrivateRequest, err error) {
	if err := unmarshal(b, MaxRequestBytes, &r); err != nil {
		return PrivateRequest{}, err
	}
	if r.public, err = ParsePublicKey(r.HPKEPublicKey); err != nil {
		return PrivateRequest{}, err
	}
	if r.Evidence.Format == "" || len(r.Evidence.Data) == 0 || len(r.Evidence.Data) > attest.MaxEvidenceSize {
		return PrivateRequest{}, fmt.Errorf("%w: evidence is missing or larger than %d bytes", ErrMalformed, attest.MaxEvidenceSize)
	}
	return r, errors.Join(r.Spec.Check(), r.Purpose.Check())
}

// DecodePublicRequest reads and checks the body of POST /public.
func DecodePublicRequest(b []byte) (r PublicRequest, err error) {
	if err := unmarshal(b, MaxRequestBytes, &r); err != nil {
		return PublicRequest{}, err
	}
	if r.Purpose == "" {
		r.Purpose = Mail
	}
	return r, errors.Join(r.Spec.Check(), r.Purpose.Check(), r.Purpose.checkPublic())
}

// checkPublic refuses a purpose that has no public key.
func (p Purpose) checkPublic() error {
	if p == Storage || p == Anchor {
		return fmt.Errorf("%w: keys for %s have no public key", ErrSpec, p)
	}
	return nil
}

func unmarshal(b []byte, most int, v any) error {
	if len(b) > most {
		return fmt.Errorf("%w: %d bytes, at most %d are read", ErrMalformed, len(b), most)
	}
	if err := strictjson.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

package dcap

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"

	"github.com/coffer-fs/coffer/key"
)

// verify checks that the platform's PCK vouches for the quoting enclave, the
// quoting enclave for the attestation key, and the attestation key for the
// report. What is the same in all quotes of a quoting enclave is kept.
func (q Quote) verify(p *pck, keys *cache[*ecdsa.PublicKey]) error {
	vouched := key.Info("", p.chain[0].Raw, q.qeReport, q.qeSignature, q.key, q.authData)
	k, err := keys.get(vouched, func() (*ecdsa.PublicKey, error) { return q.attestationKey(p) })
	if err != nil {
		return err
	}
	return verifyRaw(k, q.signed, q.signature, "quote")
}

// attestationKey is the quoting enclave's, if the platform's PCK vouches for it.
func (q Quote) attestationKey(p *pck) (*ecdsa.PublicKey, error) {
	if err := verifyRaw(keyOf(p.chain[0]), q.qeReport, q.qeSignature, "report of the quoting enclave"); err != nil {
		return nil, err
	}
	want := [64]byte{}
	h := sha256.Sum256(append(q.key[:len(q.key):len(q.key)], q.authData...))
	copy(want[:], h[:])
	if q.QE.Data != want {
		return nil, fmt.Errorf("%w: the quoting enclave's report is not over the attestation key and auth data", ErrBinding)
	}
	return rawKey(q.key)
}

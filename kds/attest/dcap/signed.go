package dcap

import (
	"crypto/sha256"
	"fmt"
)

// verify checks that the platform's PCK vouches for the quoting enclave, the
// quoting enclave for the attestation key, and the attestation key for the
// report.
func (q Quote) verify(p *pck) error {
	if err := verifyRaw(keyOf(p.chain[0]), q.qeReport, q.qeSignature, "report of the quoting enclave"); err != nil {
		return err
	}
	want := [64]byte{}
	h := sha256.Sum256(append(q.key[:len(q.key):len(q.key)], q.authData...))
	copy(want[:], h[:])
	if q.QE.Data != want {
		return fmt.Errorf("%w: the quoting enclave's report is not over the attestation key and auth data", ErrBinding)
	}
	k, err := rawKey(q.key)
	if err != nil {
		return err
	}
	return verifyRaw(k, q.signed, q.signature, "quote")
}

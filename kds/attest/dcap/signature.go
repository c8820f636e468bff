package dcap

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/big"
)

// verifyRaw checks a signature of r and s, 32 bytes each, as SGX writes it.
func verifyRaw(public *ecdsa.PublicKey, message, signature []byte, what string) error {
	if len(signature) != signatureSize {
		return fmt.Errorf("%w: %s: %d bytes, want %d", ErrSignature, what, len(signature), signatureSize)
	}
	h := sha256.Sum256(message)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(public, h[:], r, s) {
		return fmt.Errorf("%w: %s", ErrSignature, what)
	}
	return nil
}

// rawKey reads x and y, 32 bytes each, which must be a point on the curve.
func rawKey(xy []byte) (*ecdsa.PublicKey, error) {
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, xy...))
	if err != nil {
		return nil, fmt.Errorf("%w: attestation key is no point of P-256", ErrQuote)
	}
	return k, nil
}

// keyOf is the key of a certificate that has stood in a role.
func keyOf(c *x509.Certificate) *ecdsa.PublicKey {
	k, _ := c.PublicKey.(*ecdsa.PublicKey)
	return k
}

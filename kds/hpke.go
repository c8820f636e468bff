package kds

import (
	"bytes"
	"crypto/hpke"
	"fmt"

	"github.com/coffer-fs/coffer/key"
)

// The one suite of the protocol: X-Wing, HKDF-SHA256, AES-256-GCM.
func kem() hpke.KEM   { return hpke.MLKEM768X25519() }
func kdf() hpke.KDF   { return hpke.HKDFSHA256() }
func aead() hpke.AEAD { return hpke.AES256GCM() }

// Sizes of the suite.
const (
	// PublicKeySize is the size of an X-Wing public key in bytes.
	PublicKeySize = 1216
	// SealedKeySize is the size of a sealed key: encapsulation, key, tag.
	SealedKeySize = 1120 + key.Size + 16
)

// ParsePublicKey reads an X-Wing public key.
func ParsePublicKey(b []byte) (hpke.PublicKey, error) {
	if len(b) != PublicKeySize {
		return nil, fmt.Errorf("%w: a public key has %d bytes, got %d", ErrMalformed, PublicKeySize, len(b))
	}
	pk, err := kem().NewPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("%w: public key: %w", ErrMalformed, err)
	}
	return pk, nil
}

// SealKey seals k to the asker of r.
func (r PrivateRequest) SealKey(k key.Key) ([]byte, error) {
	pk := r.public
	if pk == nil || !bytes.Equal(pk.Bytes(), r.HPKEPublicKey) { // of a request that was not decoded, or changed since
		var err error
		if pk, err = ParsePublicKey(r.HPKEPublicKey); err != nil {
			return nil, err
		}
	}
	info := r.Hash()
	return hpke.Seal(pk, kdf(), aead(), info[:], k.Bytes())
}

// openKey opens what SealKey sealed.
func (r PrivateRequest) openKey(sk hpke.PrivateKey, sealed []byte) (key.Key, error) {
	info := r.Hash()
	b, err := hpke.Open(sk, kdf(), aead(), info[:], sealed)
	if err != nil {
		return key.Key{}, err
	}
	defer clear(b)
	return key.FromBytes(b)
}

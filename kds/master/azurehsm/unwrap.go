package azurehsm

import (
	"bytes"
	"crypto/aes"
	"crypto/hkdf"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/coffer-fs/coffer/key"
)

// kekLabel derives a wrapping key: docs/protocol.md, "Wrapped master keys".
const kekLabel = "coffer/kds/v1/azure wrapping key"

var errUnwrap = errors.New("it does not unwrap")

// unwrap opens CKM_RSA_AES_KEY_WRAP: an AES key under RSA-OAEP with SHA-256, and
// what is wrapped by that (RFC 5649).
func unwrap(k *rsa.PrivateKey, b []byte) ([]byte, error) {
	if len(b) < k.Size() {
		return nil, fmt.Errorf("%w: it has %d bytes", errUnwrap, len(b))
	}
	inner, err := rsa.DecryptOAEP(sha256.New(), nil, k, b[:k.Size()], nil)
	if err != nil || len(inner) != 32 {
		return nil, fmt.Errorf("%w: it is not for the key of this enclave", errUnwrap)
	}
	defer clear(inner)
	return unwrapPadded(inner, b[k.Size():])
}

// unwrapPadded is AES key unwrap with padding, RFC 5649.
func unwrapPadded(kek, b []byte) ([]byte, error) {
	if len(b) < 16 || len(b)%8 != 0 || len(b) > MaxAnswerBytes {
		return nil, fmt.Errorf("%w: %d bytes are wrapped", errUnwrap, len(b))
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	out := bytes.Clone(b)
	n := len(b)/8 - 1
	if n == 1 {
		block.Decrypt(out, out)
	} else {
		unwind(block.Decrypt, out, n)
	}
	size := int64(binary.BigEndian.Uint32(out[4:]))
	ok := subtle.ConstantTimeCompare(out[:4], []byte{0xa6, 0x59, 0x59, 0xa6}) == 1 && size > int64(8*(n-1)) && size <= int64(8*n)
	if !ok || !bytes.Equal(out[8+size:], make([]byte, int64(8*n)-size)) {
		clear(out)
		return nil, fmt.Errorf("%w: it is damaged", errUnwrap)
	}
	return out[8 : 8+size], nil
}

// unwind is the inverse of the wrapping process of RFC 3394, section 2.2.2, on a
// register of 8 bytes and n blocks of 8 behind it.
func unwind(decrypt func(dst, src []byte), b []byte, n int) {
	var x [aes.BlockSize]byte
	for j := 5; j >= 0; j-- {
		for i := n; i >= 1; i-- {
			copy(x[:8], b[:8])
			copy(x[8:], b[8*i:8*i+8])
			binary.BigEndian.PutUint64(x[:8], binary.BigEndian.Uint64(x[:8])^uint64(n*j+i))
			decrypt(x[:], x[:])
			copy(b[:8], x[:8])
			copy(b[8*i:8*i+8], x[8:])
		}
	}
	clear(x[:])
}

// wrappingKey makes a key of what was released. Of an RSA key it takes the
// primes, the smaller first, because they are the same in every encoding.
func wrappingKey(public *azkeys.JSONWebKey, secret []byte) (key.Key, error) {
	material := secret
	if *public.Kty == azkeys.KeyTypeRSAHSM {
		primes, err := primesOf(public, secret)
		if err != nil {
			return key.Key{}, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		defer clear(primes)
		material = primes
	} else if len(secret) != key.Size {
		return key.Key{}, fmt.Errorf("%w: an oct-HSM key of %d bits, want 256", ErrKey, 8*len(secret))
	}
	b, err := hkdf.Key(sha256.New, material, nil, string(key.Info(kekLabel, []byte(*public.Kty))), key.Size)
	if err != nil {
		return key.Key{}, err
	}
	defer clear(b)
	return key.FromBytes(b)
}

func primesOf(public *azkeys.JSONWebKey, secret []byte) ([]byte, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(secret)
	if err != nil {
		return nil, errors.New("it is not a private key in PKCS #8")
	}
	k, ok := parsed.(*rsa.PrivateKey)
	if !ok || len(k.Primes) != 2 || k.N.BitLen() < 2048 {
		return nil, errors.New("it is not an RSA key of two primes and at least 2048 bits")
	}
	if !bytes.Equal(k.N.Bytes(), bytes.TrimLeft(public.N, "\x00")) {
		return nil, errors.New("it is another one than the vault shows")
	}
	p, q := k.Primes[0], k.Primes[1]
	if p.Cmp(q) > 0 {
		p, q = q, p
	}
	return key.Info("", p.Bytes(), q.Bytes()), nil
}

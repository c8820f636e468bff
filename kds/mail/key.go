package mail

import (
	"context"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/key"
)

// Fingerprint stands for a public key.
type Fingerprint [sha256.Size]byte

// FingerprintOf is SHA-256 of the key, with a label.
func FingerprintOf(pk hpke.PublicKey) Fingerprint {
	return sha256.Sum256(key.Info(fingerprintLabel, pk.Bytes()))
}

// String is the fingerprint in hexadecimal.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// KeySource has the keys of specs. Keys is one.
type KeySource interface {
	// MailKey returns the key pair of spec for mail with this fingerprint. It
	// must not be a key of another spec. Generation is a hint, 0 if there is
	// none.
	MailKey(ctx context.Context, spec kds.Spec, g kds.Generation, f Fingerprint) (hpke.PrivateKey, error)
}

// keyFor gets the key that a letter with this header opens with.
func keyFor(ctx context.Context, keys KeySource, h Header) (hpke.PrivateKey, error) {
	sk, err := keys.MailKey(ctx, h.Spec, h.Generation, h.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	return sk, checkKey(sk, h)
}

func checkKey(sk hpke.PrivateKey, h Header) error {
	if got := FingerprintOf(sk.PublicKey()); got != h.Key {
		return fmt.Errorf("%w: it is encrypted to %s, this is %s", ErrOtherKey, h.Key, got)
	}
	return nil
}

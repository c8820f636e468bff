package mail

import (
	"crypto/ed25519"
	"crypto/hpke"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/key"
)

// Identity is a sender: one secret, from which come the key he signs with, the
// key that replies are encrypted to, and the secrets that replies prove
// themselves with. Who keeps the secret keeps all of them, and need remember
// nothing else to open a reply.
type Identity struct{ seed key.Key }

// NewIdentity is a sender whom nobody knows yet.
func NewIdentity() Identity { return Identity{key.New()} }

// IdentityOf is the sender of a secret that was kept. The secret must be used
// for nothing else, and must outlive the identity.
func IdentityOf(seed key.Key) Identity { return Identity{seed} }

// PublicKey is what others know the sender by.
func (i Identity) PublicKey() ed25519.PublicKey {
	return i.signing().Public().(ed25519.PublicKey)
}

func (i Identity) signing() ed25519.PrivateKey {
	k := i.seed.Derive(nil, signingLabel)
	defer k.Destroy()
	return ed25519.NewKeyFromSeed(k.Bytes())
}

// replyKey is the key pair that replies are encrypted to.
func (i Identity) replyKey() (hpke.PrivateKey, error) {
	k := i.seed.Derive(nil, replyKeyLabel)
	defer k.Destroy()
	return kds.KeyPair(k)
}

// replySecret is known to the sender and to those who hold the key that he sent
// a letter to.
func (i Identity) replySecret(letter ID, to Fingerprint) key.Key {
	return i.seed.Derive(nil, replySecretLabel, letter[:], to[:])
}

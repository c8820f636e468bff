package kds

import (
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"

	"github.com/coffer-fs/coffer/key"
)

// The labels of this package. None is ever used for anything else.
const (
	deriveLabel      = "coffer/kds/v1"
	specLabel        = "coffer/kds/v1/spec"
	requestLabel     = "coffer/kds/v1/private request"
	answerLabel      = "coffer/kds/v1/private answer"
	publicLabel      = "coffer/kds/v1/public answer"
	responseKeyLabel = "coffer/kds/v1/response key"

	anchorRequestLabel = "coffer/kds/v1/anchor request"
	anchorAnswerLabel  = "coffer/kds/v1/anchor answer"
)

// algorithms says what a derived key is used with. The names are part of every
// derivation.
var algorithms = map[Purpose]string{
	Storage:  "HKDF-SHA256",
	Mail:     "MLKEM768-X25519",
	Handover: "MLKEM768-X25519",
	Anchor:   "HMAC-SHA256",
}

// Derive is the key of a spec: HKDF-SHA256 of the master key with no salt and
// the list {label, purpose, algorithm, type, generation, name, canonical
// policy}. It is fixed for ever by testdata/vectors/kds-derivation.json.
//
// The spec must have passed Check.
func Derive(master key.Key, g Generation, s Spec, p Purpose) key.Key {
	return master.Derive(nil, deriveLabel, []byte(p), []byte(algorithms[p]), []byte(s.MasterKeyType),
		g.bytes(), []byte(s.Name), []byte(s.PolicyConstraint.Canonical()))
}

// Hash stands for the spec where it need not be readable.
func (s Spec) Hash() [sha256.Size]byte {
	return sha256.Sum256(key.Info(specLabel, []byte(s.Name), []byte(s.MasterKeyType), []byte(s.PolicyConstraint.Canonical())))
}

// bytes is the generation as 32 bits big-endian.
func (g Generation) bytes() []byte { return binary.BigEndian.AppendUint32(nil, uint32(g)) }

// KeyPair is the key pair of a spec for mail or handover: the derived key is
// the seed of X-Wing's private key.
func KeyPair(k key.Key) (hpke.PrivateKey, error) {
	return kem().NewPrivateKey(k.Bytes())
}

package kds_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/key"
)

// Key pairs are X-Wing's, from the derived key as seed: the first test vector
// of draft-connolly-cfrg-xwing-kem. If the standard library ever changes this,
// all mail is lost, and this test says so first.
func TestKeyPairIsXWing(t *testing.T) {
	k, err := key.FromBytes(unhex(t, "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := kds.KeyPair(k)
	if err != nil {
		t.Fatal(err)
	}
	public := hex.EncodeToString(pair.PublicKey().Bytes())
	if len(public) != 2*kds.PublicKeySize || !strings.HasPrefix(public, "e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5") {
		t.Errorf("public key %s...", public[:64])
	}
	const whole = "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb"
	if sum := sha256.Sum256(pair.PublicKey().Bytes()); hex.EncodeToString(sum[:]) != whole {
		t.Errorf("public key has SHA-256 %x", sum)
	}
}

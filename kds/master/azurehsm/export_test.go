package azurehsm

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/key"
)

// UnwrapPadded is unwrapPadded.
var UnwrapPadded = unwrapPadded

// CheckPolicy is checkPolicy.
func CheckPolicy(b []byte, authority string, self attest.Identity) error {
	return checkPolicy(b, authority, self)
}

// OctKey is the wrapping key of a released oct-HSM key.
func OctKey(secret []byte) (key.Key, error) {
	return wrappingKey(&azkeys.JSONWebKey{Kty: to.Ptr(azkeys.KeyTypeOctHSM)}, secret)
}

// Readable is readable.
var Readable = readable

// ReadAnswer is what is done with an answer's payload once its signature is right.
func ReadAnswer(b []byte) error {
	var p payload
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	_, err := readKeyHSM(p)
	return err
}

// FreshReleaseKeys are those of the real thing, until the returned function is
// called. Other tests use one small key again and again.
func FreshReleaseKeys() (restore func()) {
	before := newReleaseKey
	newReleaseKey = realReleaseKey
	return func() { newReleaseKey = before }
}

var realReleaseKey = newReleaseKey

func init() {
	newReleaseKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
}

package azuretest

import (
	"crypto/aes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Key is a key in the vault. A test changes fields.
type Key struct {
	Type                 string // RSA-HSM or oct-HSM
	Current              string
	Versions             map[string]*Material
	Exportable, Disabled bool
	Expires, NotBefore   time.Time
	Policy               string // JSON; none if empty
	// Vault is what the vault calls itself. Default its URL.
	Vault string
}

// Material is the secret of a version.
type Material struct {
	RSA   *rsa.PrivateKey
	Bytes []byte
}

// NewKey is an RSA-HSM key with one version that is released to self.
func NewKey(t testing.TB, self attest.Identity) *Key {
	t.Helper()
	return &Key{Type: "RSA-HSM", Current: "v1", Versions: map[string]*Material{"v1": {RSA: newRSA()}}, Exportable: true, Policy: PolicyFor(self)}
}

// Oct is an oct-HSM key instead.
func (k *Key) Oct() {
	b := make([]byte, 32)
	rand.Read(b)
	k.Type, k.Versions = "oct-HSM", map[string]*Material{k.Current: {Bytes: b}}
}

// Rotate makes a new version current.
func (k *Key) Rotate(t testing.TB, version string) {
	t.Helper()
	k.Current, k.Versions[version] = version, &Material{RSA: newRSA()}
}

// PolicyFor is a release policy as operators write it: for an enclave's signer and
// product.
func PolicyFor(id attest.Identity) string {
	return fmt.Sprintf(`{"version":"1.0.0","anyOf":[{"authority":"https://%s","allOf":[{"claim":"x-ms-sgx-is-debuggable","equals":"false"},{"claim":"x-ms-sgx-mrsigner","equals":"%s"},{"claim":"x-ms-sgx-product-id","equals":"%d"}]}]}`,
		AttestationHost, strings.ToLower(string(id.SignerHash)), id.ProductID)
}

func (k *Key) kid(version string) string {
	vault := k.Vault
	if vault == "" {
		vault = "https://" + VaultHost
	}
	return vault + "/keys/" + KeyName + "/" + version
}

// Bundle is what the vault says of a version.
func (k *Key) Bundle(version string) map[string]any {
	attributes := map[string]any{"enabled": !k.Disabled, "exportable": k.Exportable, "created": 1700000000, "updated": 1700000000}
	if !k.Expires.IsZero() {
		attributes["exp"] = k.Expires.Unix()
	}
	if !k.NotBefore.IsZero() {
		attributes["nbf"] = k.NotBefore.Unix()
	}
	public := map[string]any{"kid": k.kid(version), "kty": k.Type, "key_ops": []string{"encrypt", "decrypt"}}
	if m := k.Versions[version]; m.RSA != nil {
		public["n"] = base64.RawURLEncoding.EncodeToString(m.RSA.N.Bytes())
		public["e"] = base64.RawURLEncoding.EncodeToString(big.NewInt(int64(m.RSA.E)).Bytes())
	}
	b := map[string]any{"key": public, "attributes": attributes}
	if k.Policy != "" {
		b["release_policy"] = map[string]any{"contentType": "application/json; charset=utf-8", "data": base64.RawURLEncoding.EncodeToString([]byte(k.Policy)), "immutable": true}
	}
	return b
}

// admits evaluates a release policy of alternatives that are lists of claims.
func (k *Key) admits(issuer string, claims map[string]any) bool {
	var p struct {
		AnyOf []struct {
			Authority string
			AllOf     []struct {
				Claim  string
				Equals any
			}
		}
	}
	must(json.Unmarshal([]byte(k.Policy), &p))
	for _, one := range p.AnyOf {
		ok := one.Authority == issuer
		for _, c := range one.AllOf {
			ok = ok && fmt.Sprint(claims[c.Claim]) == fmt.Sprint(c.Equals)
		}
		if ok {
			return true
		}
	}
	return false
}

// secret is what is released: PKCS #8, or the bytes.
func (m *Material) secret() []byte {
	if m.RSA == nil {
		return m.Bytes
	}
	b, err := x509.MarshalPKCS8PrivateKey(m.RSA)
	must(err)
	return b
}

// Wrap is CKM_RSA_AES_KEY_WRAP with SHA-256.
func Wrap(to *rsa.PublicKey, secret []byte) []byte {
	kek := make([]byte, 32)
	rand.Read(kek)
	outer, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, to, kek, nil)
	must(err)
	return append(outer, WrapPadded(kek, secret)...)
}

// WrapPadded is AES key wrap with padding, RFC 5649.
func WrapPadded(kek, secret []byte) []byte {
	block, err := aes.NewCipher(kek)
	must(err)
	b := append([]byte{0xa6, 0x59, 0x59, 0xa6}, binary.BigEndian.AppendUint32(nil, uint32(len(secret)))...)
	b = append(b, secret...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	n := len(b)/8 - 1
	if n == 1 {
		block.Encrypt(b, b)
		return b
	}
	x := make([]byte, 16)
	for j := range 6 {
		for i := 1; i <= n; i++ {
			copy(x, b[:8])
			copy(x[8:], b[8*i:])
			block.Encrypt(x, x)
			binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(x)^uint64(n*j+i))
			copy(b[8*i:], x[8:])
		}
	}
	return b
}

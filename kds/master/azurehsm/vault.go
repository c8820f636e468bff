package azurehsm

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/coffer-fs/coffer/key"
)

// wrapAlgorithm is CKM_RSA_AES_KEY_WRAP with SHA-256 in place of SHA-1.
const wrapAlgorithm = azkeys.KeyEncryptionAlgorithmRSAAESKEYWRAP256

const releaseNonceSize = 16

// newReleaseKey is a fresh key that a key is released to. Tests, for which it takes
// too long, have another one.
var newReleaseKey = func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, rsaBits) }

// versionForm is what Azure calls the versions of a key.
var versionForm = regexp.MustCompile(`^[0-9a-zA-Z-]{1,127}$`)

// kid is the vault's name of a version of the key.
func (k *KEK) kid(version string) string {
	return k.o.Config.Vault + "/keys/" + k.o.Config.Key + "/" + version
}

// version is the version in the vault's name of a key, which must be this key.
func (k *KEK) version(kid string) (string, error) {
	version, ok := strings.CutPrefix(kid, k.kid(""))
	if !ok || !versionForm.MatchString(version) {
		return "", fmt.Errorf("%w: %.200q is no version of %s", ErrWrongVault, kid, k.kid(""))
	}
	return version, nil
}

// bundle is what the vault says of a version of the key, if it may be used.
func (k *KEK) bundle(ctx context.Context, version string) (azkeys.KeyBundle, error) {
	what := fmt.Sprintf("look at key %q of %s", k.o.Config.Key, k.o.Config.Vault)
	r, err := k.vault.GetKey(ctx, k.o.Config.Key, version, nil)
	if err != nil {
		return azkeys.KeyBundle{}, explain(what, err)
	}
	if err := k.checkBundle(r.KeyBundle, version); err != nil {
		return azkeys.KeyBundle{}, fmt.Errorf("%s: %w", what, err)
	}
	return r.KeyBundle, nil
}

func (k *KEK) checkBundle(b azkeys.KeyBundle, version string) error {
	if b.Key == nil || b.Key.KID == nil || b.Key.Kty == nil || b.Attributes == nil {
		return fmt.Errorf("%w: the vault does not say what it is", ErrKey)
	}
	is, err := k.version(string(*b.Key.KID))
	if err != nil {
		return err
	}
	if version != "" && is != version {
		return fmt.Errorf("%w: the vault answers with version %.64q", ErrWrongVault, is)
	}
	if kty := *b.Key.Kty; kty != azkeys.KeyTypeRSAHSM && kty != azkeys.KeyTypeOctHSM {
		return fmt.Errorf("%w: it is of type %.20q, want RSA-HSM or oct-HSM", ErrKey, kty)
	}
	if err := k.checkAttributes(b.Attributes); err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	if b.ReleasePolicy == nil {
		return fmt.Errorf("%w: it has no release policy", ErrKey)
	}
	self, err := k.o.Platform.Self()
	if err != nil {
		return err
	}
	if err := checkPolicy(b.ReleasePolicy.EncodedPolicy, k.o.Config.Attestation, self); err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	return nil
}

func (k *KEK) checkAttributes(a *azkeys.KeyAttributes) error {
	now := k.o.Now()
	switch {
	case a.Exportable == nil || !*a.Exportable:
		return fmt.Errorf("it is not exportable, so it can be released to nobody")
	case a.Enabled != nil && !*a.Enabled:
		return fmt.Errorf("it is disabled")
	case a.Expires != nil && now.After(a.Expires.Add(leeway)):
		return fmt.Errorf("it expired at %s", a.Expires.UTC().Format("2006-01-02T15:04:05Z"))
	case a.NotBefore != nil && now.Before(a.NotBefore.Add(-leeway)):
		return fmt.Errorf("it is not valid before %s", a.NotBefore.UTC().Format("2006-01-02T15:04:05Z"))
	}
	return nil
}

// release has a version of the key released, and makes the wrapping key of it.
func (k *KEK) release(ctx context.Context, version string) (key.Key, error) {
	if !versionForm.MatchString(version) { // it is the record's word, and goes into a URL
		return key.Key{}, fmt.Errorf("%w: %.40q is no version of a key", ErrKey, version)
	}
	b, err := k.bundle(ctx, version)
	if err != nil {
		return key.Key{}, err
	}
	to, err := newReleaseKey()
	if err != nil {
		return key.Key{}, err
	}
	token, err := k.token(ctx, &to.PublicKey)
	if err != nil {
		return key.Key{}, err
	}
	a, err := k.ask(ctx, version, token)
	if err != nil {
		return key.Key{}, err
	}
	if a.kty != string(*b.Key.Kty) {
		return key.Key{}, fmt.Errorf("%w: it is of type %.20q, and was %q before", ErrAnswer, a.kty, *b.Key.Kty)
	}
	secret, err := unwrap(to, a.ciphertext)
	if err != nil {
		return key.Key{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	defer clear(secret)
	return wrappingKey(b.Key, secret)
}

// ask asks the vault for a version of the key.
func (k *KEK) ask(ctx context.Context, version, token string) (answer, error) {
	random := make([]byte, releaseNonceSize)
	rand.Read(random)
	nonce := base64.RawURLEncoding.EncodeToString(random)
	r, err := k.vault.Release(ctx, k.o.Config.Key, version, azkeys.ReleaseParameters{TargetAttestationToken: &token, Algorithm: to.Ptr(wrapAlgorithm), Nonce: &nonce}, nil)
	what := fmt.Sprintf("have key %q of %s released", k.o.Config.Key, k.o.Config.Vault)
	if err != nil {
		return answer{}, explain(what, err)
	}
	if r.Value == nil {
		return answer{}, fmt.Errorf("%s: %w: there is none in the answer", what, ErrAnswer)
	}
	a, err := k.readAnswer(*r.Value, k.kid(version), nonce)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", what, err)
	}
	return a, nil
}

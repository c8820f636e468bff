// Package azurehsm wraps master keys by a key of Azure Key Vault or Managed HSM
// that is released to attested enclaves only: a wrapped.KEK.
//
// The wrapping key is made in the HSM, exportable, with a release policy. To have
// it released the node takes these steps, with a fresh RSA key:
//
//	quote     over the hash of the RSA key's public half        attestation.go
//	token     Azure Attestation verifies the quote, and says so attestation.go
//	policy    the key's release policy admits this enclave only vault.go, policy.go
//	release   the HSM wraps the key to the RSA key, if the token satisfies the policy
//	answer    is signed by the vault, and for this key          answer.go
//	unwrap    CKM_RSA_AES_KEY_WRAP with SHA-256, in the enclave unwrap.go
//
// and derives the wrapping key from what was released. It wraps master keys by
// AES-256-GCM, in the enclave.
//
// It promises that vault, key and attestation service are those of the measured
// configuration, and that nobody else's answer is used; that a key is used only if
// its release policy demands this enclave's code, or its signer and product, and
// no debugging, so that nobody else can have it released; and that every wait and
// every answer is bounded. It does not verify the token's signature, nor that the
// quote is right: the vault does, and releases nothing otherwise.
//
// The credential that Azure asks for is the host's, and worth nothing without the
// enclave's evidence.
//
// Imported by cmd/coffer-kds.
package azurehsm

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/master/wrapped"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/key"
)

// Limits.
const (
	// MaxAnswerBytes is the largest answer of any service.
	MaxAnswerBytes = 256 << 10
	// MaxTokenBytes is the longest token of Azure Attestation.
	MaxTokenBytes = 64 << 10
	// MaxTries is how often a request is made; MaxRetryDelay is the longest wait
	// that a service can ask for in between, and TryTimeout how long one may take.
	MaxTries      = 5
	MaxRetryDelay = 20 * time.Second
	TryTimeout    = 20 * time.Second
	// rsaBits is the size of the key that keys are released to.
	rsaBits = 3072
	// leeway is how wrong clocks may be.
	leeway = 5 * time.Minute

	nonceSize = 12
	tagSize   = 16
)

// Options of Open. The first group is required.
type Options struct {
	// Config says which key of which vault, and who attests. It is measured.
	Config *nodeconfig.AzureHSM
	// Platform is the node's own enclave.
	Platform attest.Platform
	// Credential is shown to the vault.
	Credential azcore.TokenCredential

	// Transport carries all requests. Default NewTransport(Config.Roots).
	Transport policy.Transporter
	// RetryDelay is the first wait before a request is made again. Default 1 s.
	RetryDelay time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// KEK is a key in Azure.
type KEK struct {
	o        Options
	host     string // of the vault
	vault    *azkeys.Client
	pipeline runtime.Pipeline   // to the attestation service
	released map[string]key.Key // by version
}

var _ wrapped.KEK = (*KEK)(nil)

// Open prepares the use of a key. It asks nobody yet.
func Open(o Options) (*KEK, error) {
	if o.Config == nil || o.Platform == nil || o.Credential == nil {
		return nil, fmt.Errorf("%w: it needs a configuration, a platform and a credential", ErrOptions)
	}
	if o.Transport == nil {
		o.Transport = NewTransport(o.Config.Roots)
	}
	if o.RetryDelay <= 0 {
		o.RetryDelay = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	u, err := url.Parse(o.Config.Vault)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	client := policy.ClientOptions{Transport: bounded{o.Transport}, Telemetry: policy.TelemetryOptions{Disabled: true},
		Retry: policy.RetryOptions{MaxRetries: MaxTries - 1, TryTimeout: TryTimeout, RetryDelay: o.RetryDelay, MaxRetryDelay: MaxRetryDelay}}
	k := &KEK{o: o, host: u.Hostname(), released: map[string]key.Key{}, pipeline: runtime.NewPipeline("coffer", "v1", runtime.PipelineOptions{}, &client)}
	k.vault, err = azkeys.NewClient(o.Config.Vault, o.Credential, &azkeys.ClientOptions{ClientOptions: client})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return k, nil
}

// Close destroys what was released.
func (k *KEK) Close() error {
	for _, one := range k.released {
		one.Destroy()
	}
	clear(k.released)
	return nil
}

// Kind implements wrapped.KEK.
func (k *KEK) Kind() kds.MasterKeyType { return kds.AzureHSM }

// Current implements wrapped.KEK: the key's current version. It does not name the
// vault, so that records outlive a vault that was restored under another name.
func (k *KEK) Current(ctx context.Context) (string, error) {
	b, err := k.bundle(ctx, "")
	if err != nil {
		return "", err
	}
	return k.version(string(*b.Key.KID))
}

// Wrap implements wrapped.KEK: nonce, then AES-256-GCM.
func (k *KEK) Wrap(ctx context.Context, id string, mk key.Key, aad []byte) ([]byte, error) {
	a, err := k.aead(ctx, id)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	return a.Seal(nonce, nonce, mk.Bytes(), aad), nil
}

// Unwrap implements wrapped.KEK.
func (k *KEK) Unwrap(ctx context.Context, id string, b, aad []byte) (key.Key, error) {
	a, err := k.aead(ctx, id)
	if err != nil {
		return key.Key{}, err
	}
	if len(b) != nonceSize+key.Size+tagSize {
		return key.Key{}, fmt.Errorf("%w: it has %d bytes", wrapped.ErrUnwrap, len(b))
	}
	plain, err := a.Open(nil, b[:nonceSize], b[nonceSize:], aad)
	if err != nil {
		return key.Key{}, wrapped.ErrUnwrap
	}
	defer clear(plain)
	return key.FromBytes(plain)
}

// aead is the wrapping key of a version, released if it was not.
func (k *KEK) aead(ctx context.Context, id string) (cipher.AEAD, error) {
	kek, ok := k.released[id]
	if !ok {
		var err error
		if kek, err = k.release(ctx, id); err != nil {
			return nil, err
		}
		k.released[id] = kek
	}
	block, err := aes.NewCipher(kek.Bytes())
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Sentinels are all errors of this package, for whoever maps them.
func Sentinels() []error {
	return []error{ErrOptions, ErrCredential, ErrUnreachable, ErrThrottled, ErrRefused, ErrWrongVault, ErrAttestation, ErrKey, ErrAnswer}
}

// as gives err the meaning that it has, unless it has one.
func as(meaning, err error) error {
	for _, s := range Sentinels() {
		if errors.Is(err, s) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", meaning, err)
}

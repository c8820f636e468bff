package azurehsm

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/go-jose/go-jose/v4"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/ego"
)

// attestPath is the call that takes an SGX quote.
const attestPath = "/attest/SgxEnclave?api-version=2022-08-01"

// jwk is an RSA public key in JSON.
type jwk struct {
	Kty    string   `json:"kty"`
	Kid    string   `json:"kid,omitempty"`
	KeyOps []string `json:"key_ops,omitempty"`
	N      string   `json:"n"`
	E      string   `json:"e"`
}

type jwks struct {
	Keys []jwk `json:"keys"`
}

func publicJWK(k *rsa.PublicKey) jwk {
	return jwk{Kty: "RSA", Kid: "coffer", KeyOps: []string{"encrypt"},
		N: base64.RawURLEncoding.EncodeToString(k.N.Bytes()), E: base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.E)).Bytes())}
}

// token has Azure Attestation vouch for the enclave, and for the key that is to be
// released to.
func (k *KEK) token(ctx context.Context, to *rsa.PublicKey) (string, error) {
	runtimeData, err := json.Marshal(jwks{[]jwk{publicJWK(to)}})
	if err != nil {
		return "", err
	}
	quote, err := k.quote(runtimeData)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrAttestation, err)
	}
	text, err := k.attest(ctx, quote, runtimeData)
	if err != nil {
		return "", err
	}
	if err := k.checkToken(text, to); err != nil {
		return "", fmt.Errorf("%w: its token: %w", ErrAttestation, err)
	}
	return text, nil
}

// quote is over SHA-256 of the runtime data, then zeros, as the service wants.
func (k *KEK) quote(runtimeData []byte) ([]byte, error) {
	var data attest.ReportData
	sum := sha256.Sum256(runtimeData)
	copy(data[:], sum[:])
	e, err := k.o.Platform.Quote(data)
	if err != nil {
		return nil, err
	}
	switch e.Format {
	case attest.FormatOpenEnclave:
		return ego.Quote(e.Data)
	case attest.FormatSGXQuote:
		quote, _, err := dcap.ParseEvidence(e.Data)
		return quote, err
	}
	return e.Data, nil // no service believes it but one of a test
}

// attest posts a quote. The request may be made again: it changes nothing.
func (k *KEK) attest(ctx context.Context, quote, runtimeData []byte) (string, error) {
	type data struct {
		Data string `json:"data"`
		Type string `json:"dataType"`
	}
	body, err := json.Marshal(struct {
		Quote   string `json:"quote"`
		Runtime data   `json:"runtimeData"`
	}{base64.RawURLEncoding.EncodeToString(quote), data{base64.RawURLEncoding.EncodeToString(runtimeData), "JSON"}})
	if err != nil {
		return "", err
	}
	req, err := runtime.NewRequest(ctx, http.MethodPost, k.o.Config.Attestation+attestPath)
	if err != nil {
		return "", err
	}
	if err := req.SetBody(readSeekNopCloser{bytes.NewReader(body)}, "application/json"); err != nil {
		return "", err
	}
	resp, err := k.pipeline.Do(req)
	if err != nil {
		return "", explain("ask "+k.o.Config.Attestation, err)
	}
	if !runtime.HasStatusCode(resp, http.StatusOK) {
		return "", k.attestRefused(runtime.NewResponseError(resp))
	}
	var answer struct {
		Token string `json:"token"`
	}
	if err := runtime.UnmarshalAsJSON(resp, &answer); err != nil || len(answer.Token) > MaxTokenBytes {
		return "", fmt.Errorf("%w: %s answers with something else than a token", ErrAttestation, k.o.Config.Attestation)
	}
	return answer.Token, nil
}

// attestRefused says whether the service said no, or could not say.
func (k *KEK) attestRefused(err error) error {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) && answer.StatusCode >= 400 && answer.StatusCode < 500 && answer.StatusCode != http.StatusTooManyRequests {
		return fmt.Errorf("%w: %s answers with status %d, %s", ErrAttestation, k.o.Config.Attestation, answer.StatusCode, message(answer.RawResponse))
	}
	return explain("ask "+k.o.Config.Attestation, err)
}

type readSeekNopCloser struct{ io.ReadSeeker }

func (readSeekNopCloser) Close() error { return nil }

// claims are those of a token that are looked at.
type claims struct {
	Issuer    string `json:"iss"`
	Expires   int64  `json:"exp"`
	NotBefore int64  `json:"nbf"`
	CodeHash  string `json:"x-ms-sgx-mrenclave"`
	Runtime   jwks   `json:"x-ms-runtime"`
}

// signatures are the algorithms that tokens and answers may be signed by.
var signatures = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384}

// checkToken refuses a token that could not be meant for this, so that the error
// says so. It is the vault that verifies it.
func (k *KEK) checkToken(text string, to *rsa.PublicKey) error {
	token, err := jose.ParseSignedCompact(text, signatures)
	if err != nil {
		return fmt.Errorf("it is not a signed one: %w", err)
	}
	var c claims
	if err := json.Unmarshal(token.UnsafePayloadWithoutVerification(), &c); err != nil {
		return fmt.Errorf("its claims: %w", err)
	}
	self, err := k.o.Platform.Self()
	if err != nil {
		return err
	}
	now := k.o.Now()
	switch {
	case c.Issuer != k.o.Config.Attestation:
		return fmt.Errorf("it is issued by %.100q", c.Issuer)
	case now.After(time.Unix(c.Expires, 0).Add(leeway)):
		return fmt.Errorf("it expired at %s", time.Unix(c.Expires, 0).UTC().Format(time.RFC3339))
	case now.Before(time.Unix(c.NotBefore, 0).Add(-leeway)):
		return fmt.Errorf("it is not valid before %s", time.Unix(c.NotBefore, 0).UTC().Format(time.RFC3339))
	case !strings.EqualFold(c.CodeHash, string(self.CodeHash)):
		return fmt.Errorf("it is for the code %.64q", c.CodeHash)
	case len(c.Runtime.Keys) != 1 || c.Runtime.Keys[0].N != publicJWK(to).N:
		return fmt.Errorf("it does not vouch for the key that is asked with")
	}
	return nil
}

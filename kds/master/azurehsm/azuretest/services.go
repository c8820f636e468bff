package azuretest

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/coffer-fs/coffer/kds/attest"
)

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// Fail answers as Azure's services do when they refuse.
func Fail(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, map[string]any{"error": map[string]any{"code": code, "message": message}})
}

// login is Microsoft's: discovery, then a token for a client's secret.
func (a *Azure) login(w http.ResponseWriter, r *http.Request) {
	base := "https://" + LoginHost + "/" + Tenant
	switch {
	case r.URL.Path == "/"+Tenant+"/v2.0/.well-known/openid-configuration":
		answer(w, 200, map[string]any{"issuer": base + "/v2.0", "authorization_endpoint": base + "/oauth2/v2.0/authorize", "token_endpoint": base + "/oauth2/v2.0/token"})
	case r.URL.Path == "/"+Tenant+"/oauth2/v2.0/token":
		if r.FormValue("client_id") != Client || r.FormValue("client_secret") != Secret || r.FormValue("scope") == "" {
			answer(w, 401, map[string]any{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."})
			return
		}
		answer(w, 200, map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": bearer})
	default:
		http.NotFound(w, r)
	}
}

// attest is POST /attest/SgxEnclave.
func (a *Azure) attest(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Quote       string
		RuntimeData struct{ Data, DataType string }
	}
	if r.Method != http.MethodPost || r.URL.Path != "/attest/SgxEnclave" || r.URL.Query().Get("api-version") != "2022-08-01" {
		Fail(w, 404, "NotFound", "no such call")
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		Fail(w, 400, "InvalidParameter", err.Error())
		return
	}
	quote, e1 := base64.RawURLEncoding.DecodeString(q.Quote)
	data, e2 := base64.RawURLEncoding.DecodeString(q.RuntimeData.Data)
	if e1 != nil || e2 != nil || q.RuntimeData.DataType != "JSON" {
		Fail(w, 400, "InvalidParameter", "not base64url, or not JSON")
		return
	}
	report, err := a.VerifyQuote(quote)
	if sum := sha256.Sum256(data); err == nil && string(report.ReportData[:32]) != string(sum[:]) {
		err = fmt.Errorf("the hash of the runtime data is not in the quote")
	}
	if err != nil {
		Fail(w, 400, "InvalidParameter", err.Error())
		return
	}
	claims := a.claims(report.Identity, data)
	if a.EditClaims != nil {
		a.EditClaims(claims)
	}
	token := sign(a.attester, nil, claims)
	if a.EditToken != nil {
		token = a.EditToken(token)
	}
	answer(w, 200, map[string]any{"token": token})
}

func (a *Azure) claims(id attest.Identity, runtimeData []byte) map[string]any {
	return map[string]any{
		"iss": "https://" + AttestationHost, "nbf": a.Now().Unix(), "iat": a.Now().Unix(), "exp": a.Now().Unix() + 8*3600,
		"x-ms-sgx-mrenclave": strings.ToLower(string(id.CodeHash)), "x-ms-sgx-mrsigner": strings.ToLower(string(id.SignerHash)),
		"x-ms-sgx-product-id": id.ProductID, "x-ms-sgx-svn": id.RevocationLevel + 1, "x-ms-sgx-is-debuggable": id.Mode == attest.Debug,
		"x-ms-runtime": json.RawMessage(runtimeData),
	}
}

// sign makes a compact JWS by RS256, with a chain of certificates or without.
func sign(k *rsa.PrivateKey, chain [][]byte, v any) string {
	o := &jose.SignerOptions{}
	if chain != nil {
		var x5c []string
		for _, der := range chain {
			x5c = append(x5c, base64.StdEncoding.EncodeToString(der))
		}
		o.WithHeader("x5c", x5c)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: k}, o)
	must(err)
	b, err := json.Marshal(v)
	must(err)
	signed, err := s.Sign(b)
	must(err)
	text, err := signed.CompactSerialize()
	must(err)
	return text
}

// serveVault is the part of a vault that is about one key.
func (a *Azure) serveVault(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+bearer {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization="https://%s/%s", resource="https://managedhsm.azure.net"`, LoginHost, Tenant))
		Fail(w, 401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
		return
	}
	if r.URL.Query().Get("api-version") == "" {
		Fail(w, 400, "BadParameter", "no api-version")
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) < 2 || parts[0] != "keys" || parts[1] != KeyName || a.Key == nil {
		Fail(w, 404, "KeyNotFound", "A key with (name/id) was not found in this key vault.")
		return
	}
	version := a.Key.Current
	if len(parts) > 2 {
		version = parts[2]
	}
	if a.Key.Versions[version] == nil {
		Fail(w, 404, "KeyNotFound", "no such version")
		return
	}
	switch {
	case r.Method == http.MethodGet && len(parts) <= 3:
		answer(w, 200, a.Key.Bundle(version))
	case r.Method == http.MethodPost && len(parts) == 4 && parts[3] == "release":
		a.release(w, r, version)
	default:
		Fail(w, 405, "MethodNotAllowed", "no such call")
	}
}

func (a *Azure) release(w http.ResponseWriter, r *http.Request, version string) {
	var q struct{ Target, Enc, Nonce string }
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		Fail(w, 400, "BadParameter", err.Error())
		return
	}
	value, err := a.Release(version, q.Target, q.Enc, q.Nonce)
	if err != nil {
		Fail(w, 403, "Forbidden", err.Error())
		return
	}
	answer(w, 200, map[string]any{"value": value})
}

// Release is what the vault answers: the key of a version, wrapped and signed.
func (a *Azure) Release(version, target, enc, nonce string) (string, error) {
	to, err := a.satisfied(target)
	if err != nil {
		return "", fmt.Errorf("AKV10054: Target environment attestation statement cannot be verified: %w", err)
	}
	if !a.Key.Exportable || a.Key.Disabled {
		return "", errors.New("AKV10023: release is not permitted on this key")
	}
	hsm, err := json.Marshal(map[string]any{"schema_version": "1.0", "header": map[string]any{"kid": "coffer", "alg": "dir", "enc": enc},
		"ciphertext": base64.RawURLEncoding.EncodeToString(Wrap(to, a.Key.Versions[version].secret()))})
	must(err)
	key := a.Key.Bundle(version)
	key["key"].(map[string]any)["key_hsm"] = base64.RawURLEncoding.EncodeToString(hsm)
	payload := map[string]any{"request": map[string]any{"api-version": "7.4", "enc": enc, "kid": a.Key.kid(version), "nonce": nonce}, "response": map[string]any{"key": key}}
	if a.EditAnswer != nil {
		a.EditAnswer(payload)
	}
	by := a.vault
	if a.Signer != nil {
		by = a.Signer
	}
	value := sign(by.Key, by.Chain, payload)
	if a.EditValue != nil {
		value = a.EditValue(value)
	}
	return value, nil
}

// satisfied verifies a token, and evaluates the key's release policy. It returns
// the key that is to be released to.
func (a *Azure) satisfied(text string) (*rsa.PublicKey, error) {
	token, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, err
	}
	b, err := token.Verify(&a.attester.PublicKey)
	if err != nil {
		return nil, err
	}
	var c map[string]any
	var k struct {
		Exp, Nbf int64
		Iss      string
		Runtime  struct {
			Keys []struct{ N, E string }
		} `json:"x-ms-runtime"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &k); err != nil {
		return nil, err
	}
	if now := a.Now().Unix(); now > k.Exp || now < k.Nbf {
		return nil, fmt.Errorf("the token is not valid now")
	}
	if !a.Key.admits(k.Iss, c) {
		return nil, fmt.Errorf("the release policy is not satisfied")
	}
	if len(k.Runtime.Keys) != 1 {
		return nil, fmt.Errorf("the token has no key")
	}
	n, e1 := base64.RawURLEncoding.DecodeString(k.Runtime.Keys[0].N)
	e, e2 := base64.RawURLEncoding.DecodeString(k.Runtime.Keys[0].E)
	if e1 != nil || e2 != nil {
		return nil, fmt.Errorf("the token's key is none")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
}

func must(err error) {
	if err != nil {
		panic("azuretest: " + err.Error())
	}
}

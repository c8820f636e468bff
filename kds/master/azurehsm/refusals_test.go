package azurehsm_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/master/azurehsm"
	"github.com/coffer-fs/coffer/kds/master/azurehsm/azuretest"
)

// refuses checks that the world, changed, gives nothing, and nothing is made.
func (w *world) refuses(t *testing.T, name string, change func(*azurehsm.Options), want error, text string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Helper()
		o, dir := w.options(t), t.TempDir()
		before := *w.Key
		change(&o)
		_, err := keys(t, o, dir, 1)
		refused(t, err, want, text)
		if files, _ := os.ReadDir(dir); len(files) > 0 {
			t.Error("a record was made")
		}
		*w.Key = before
		w.EditClaims, w.EditAnswer, w.EditToken, w.EditValue, w.Signer, w.Intercept = nil, nil, nil, nil, nil, nil
	})
}

// K42: the way to Azure, or the host, leads to another vault, or answers for it.
func TestK42_WrongVault(t *testing.T) {
	w := newWorld(t)
	w.refuses(t, "calls itself another", func(*azurehsm.Options) { w.Key.Vault = "https://evil.managedhsm.azure.net" },
		azurehsm.ErrWrongVault, `"https://evil.managedhsm.azure.net/keys/coffer/v1" is no version of https://coffer-test.managedhsm.azure.net/keys/coffer/`)
	w.refuses(t, "a port beside", func(*azurehsm.Options) { w.Key.Vault = "https://" + azuretest.VaultHost + ":444" }, azurehsm.ErrWrongVault, "")
	w.refuses(t, "redirects", func(*azurehsm.Options) {
		w.Intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Host == azuretest.VaultHost {
				http.Redirect(rw, r, "https://evil.managedhsm.azure.net/", http.StatusTemporaryRedirect)
			}
			return r.Host == azuretest.VaultHost
		}
	}, azurehsm.ErrWrongVault, "status 307")
	w.refuses(t, "asks for a token for others", func(*azurehsm.Options) {
		w.Intercept = challenge(`Bearer authorization="https://login.microsoftonline.com/x", resource="https://graph.microsoft.com"`)
	}, azurehsm.ErrWrongVault, "graph.microsoft.com")
	for odd, want := range map[string]error{
		"":      azurehsm.ErrCredential,
		"Basic": azurehsm.ErrWrongVault,
		`Bearer authorization="x", resource="https://managedhsm.azure.net"`: azurehsm.ErrCredential,
		`Bearer authorization=x`: azurehsm.ErrCredential,
		`Bearer resource="%zz"`:  azurehsm.ErrWrongVault,
	} {
		w.refuses(t, "a challenge that is none: "+odd, func(*azurehsm.Options) { w.Intercept = challenge(odd) }, want, "")
	}
	w.refuses(t, "unknown authority", func(o *azurehsm.Options) { o.Transport = foreign(w) }, azurehsm.ErrWrongVault, "certificate signed by unknown authority")
	w.refuses(t, "another version", func(*azurehsm.Options) {
		w.EditAnswer = func(p map[string]any) { released(p)["kid"] = "https://" + azuretest.VaultHost + "/keys/coffer/v0" }
	}, azurehsm.ErrAnswer, `want "https://coffer-test.managedhsm.azure.net/keys/coffer/v1"`)
}

// foreign reaches the services and believes no authority of theirs.
func foreign(w *world) *http.Client {
	c := w.Transport()
	c.Transport.(*http.Transport).TLSClientConfig.RootCAs = x509.NewCertPool()
	return c
}

func challenge(header string) func(http.ResponseWriter, *http.Request) bool {
	return func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Host != azuretest.VaultHost {
			return false
		}
		if header != "" {
			rw.Header().Set("WWW-Authenticate", header)
		}
		azuretest.Fail(rw, 401, "Unauthorized", "who are you?")
		return true
	}
}

func released(p map[string]any) map[string]any {
	return p["response"].(map[string]any)["key"].(map[string]any)["key"].(map[string]any)
}

// K43: the token is not for this enclave, not valid now, or changed on its way.
func TestK43_Token(t *testing.T) {
	w := newWorld(t)
	claim := func(name string, v any) func(*azurehsm.Options) {
		return func(*azurehsm.Options) { w.EditClaims = func(c map[string]any) { c[name] = v } }
	}
	w.refuses(t, "tampered", func(*azurehsm.Options) {
		w.EditToken = func(s string) string { i := strings.LastIndex(s, "."); return s[:i+1] + "AAAA" + s[i+5:] }
	}, azurehsm.ErrRefused, "attestation statement cannot be verified")
	w.refuses(t, "no token", func(*azurehsm.Options) { w.EditToken = func(string) string { return "token" } }, azurehsm.ErrAttestation, "not a signed one")
	w.refuses(t, "huge", func(*azurehsm.Options) {
		w.EditToken = func(s string) string { return s + strings.Repeat("A", azurehsm.MaxTokenBytes) }
	}, azurehsm.ErrAttestation, "something else than a token")
	w.refuses(t, "endless", func(*azurehsm.Options) {
		w.EditToken = func(string) string { return strings.Repeat("A", 2*azurehsm.MaxAnswerBytes) }
	}, azurehsm.ErrUnreachable, "too large")
	w.refuses(t, "expired", claim("exp", time.Now().Add(-time.Hour).Unix()), azurehsm.ErrAttestation, "it expired at")
	w.refuses(t, "not yet valid", claim("nbf", time.Now().Add(time.Hour).Unix()), azurehsm.ErrAttestation, "it is not valid before")
	w.refuses(t, "issuer", claim("iss", "https://evil.attest.azure.net"), azurehsm.ErrAttestation, `issued by "https://evil.attest.azure.net"`)
	w.refuses(t, "code", claim("x-ms-sgx-mrenclave", strings.Repeat("0", 64)), azurehsm.ErrAttestation, "it is for the code")
	w.refuses(t, "key", claim("x-ms-runtime", map[string]any{"keys": []any{map[string]any{"kty": "RSA", "n": "AQAB", "e": "AQAB"}}}), azurehsm.ErrAttestation, "does not vouch for the key")
	w.refuses(t, "signer", claim("x-ms-sgx-mrsigner", strings.Repeat("0", 64)), azurehsm.ErrRefused, "release policy is not satisfied")
	w.refuses(t, "expired for the vault", func(*azurehsm.Options) {
		w.EditClaims = func(c map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() }
	}, azurehsm.ErrRefused, "not valid now")
	w.refuses(t, "quote", func(*azurehsm.Options) {
		w.Intercept = func(_ http.ResponseWriter, r *http.Request) bool {
			w.machine.EditCollateral = nil
			w.VerifyQuote = func([]byte) (attest.Report, error) { return attest.Report{}, attest.ErrEvidence }
			return false
		}
	}, azurehsm.ErrAttestation, "status 400, InvalidParameter")
}

// K44: what the vault released is changed on its way, or made up.
func TestK44_Answer(t *testing.T) {
	w := newWorld(t)
	edit := func(change func(map[string]any)) func(*azurehsm.Options) {
		return func(*azurehsm.Options) { w.EditAnswer = change }
	}
	w.refuses(t, "flipped", func(*azurehsm.Options) {
		w.EditValue = func(s string) string {
			i := strings.Index(s, ".") + 100
			return s[:i] + map[bool]string{true: "B", false: "A"}[s[i] == 'A'] + s[i+1:]
		}
	}, azurehsm.ErrAnswer, "its signature is wrong")
	w.refuses(t, "unsigned", func(*azurehsm.Options) {
		w.EditValue = func(s string) string { p := strings.Split(s, "."); return "eyJhbGciOiJub25lIn0." + p[1] + "." }
	}, azurehsm.ErrAnswer, "not signed")
	w.refuses(t, "another's certificate", func(*azurehsm.Options) { w.Signer = w.Issue(t, "other.managedhsm.azure.net") }, azurehsm.ErrAnswer, "its signer is not the vault")
	w.refuses(t, "unknown authority", func(*azurehsm.Options) { w.Signer = w.Stranger(t, azuretest.VaultHost) }, azurehsm.ErrAnswer, "its signer is not the vault")
	w.refuses(t, "no certificate", func(*azurehsm.Options) {
		s := w.Issue(t, azuretest.VaultHost)
		s.Chain = nil
		w.Signer = s
	}, azurehsm.ErrAnswer, "its signer is not the vault")
	w.refuses(t, "old", edit(func(p map[string]any) { p["request"].(map[string]any)["nonce"] = "old" }), azurehsm.ErrAnswer, "it answers another question")
	w.refuses(t, "algorithm", edit(func(p map[string]any) { p["request"].(map[string]any)["enc"] = "CKM_RSA_AES_KEY_WRAP" }), azurehsm.ErrAnswer, "want RSA_AES_KEY_WRAP_256")
	w.refuses(t, "type", edit(func(p map[string]any) { released(p)["kty"] = "oct-HSM" }), azurehsm.ErrAnswer, "was \"RSA-HSM\" before")
	w.refuses(t, "no key", edit(func(p map[string]any) { released(p)["key_hsm"] = "e30" }), azurehsm.ErrAnswer, "0 bytes")
	w.refuses(t, "key_hsm", edit(func(p map[string]any) { released(p)["key_hsm"] = "!" }), azurehsm.ErrAnswer, "key_hsm")
	w.refuses(t, "ciphertext", edit(func(p map[string]any) { released(p)["key_hsm"] = hsm("QUJD!") }), azurehsm.ErrAnswer, "ciphertext")
	w.refuses(t, "for another", edit(func(p map[string]any) { released(p)["key_hsm"] = hsm(strings.Repeat("QUJD", 200)) }), azurehsm.ErrAnswer, "not for the key of this enclave")
	other := azuretest.NewKey(t, self(t, w.platform)).Versions["v1"]
	w.refuses(t, "another key", func(*azurehsm.Options) {
		w.Intercept = func(_ http.ResponseWriter, r *http.Request) bool { // after the node has looked at it
			if strings.HasSuffix(r.URL.Path, "/release") {
				w.Key.Versions = map[string]*azuretest.Material{"v1": other}
			}
			return false
		}
	}, azurehsm.ErrAnswer, "it is another one than the vault shows")
}

// hsm is the base64 of a key_hsm with that ciphertext.
func hsm(ciphertext string) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"ciphertext":%q}`, ciphertext))
}

// K45: the release policy of the key would give it to others too.
func TestK45_LooseReleasePolicy(t *testing.T) {
	id := kdstest.Release(kdstest.NodeBuild, attest.Secure).Identity
	authority := "https://" + azuretest.AttestationHost
	code, signer := strings.ToLower(string(id.CodeHash)), strings.ToLower(string(id.SignerHash))
	c := func(claim, value string) string { return fmt.Sprintf(`{"claim":%q,"equals":%q}`, claim, value) }
	all := func(of ...string) string { return `{"allOf":[` + strings.Join(of, ",") + `]}` }
	either := func(of ...string) string { return `{"anyOf":[` + strings.Join(of, ",") + `]}` }
	by := func(what string) string { return fmt.Sprintf(`{"authority":%q,`, authority) + what[1:] }
	policy := func(of ...string) string { return `{"version":"1.0.0","anyOf":[` + strings.Join(of, ",") + `]}` }
	debug, mine := c("x-ms-sgx-is-debuggable", "false"), c("x-ms-sgx-mrenclave", code)
	ours := all(c("x-ms-sgx-mrsigner", signer), c("x-ms-sgx-product-id", "7"))
	for name, good := range map[string]string{
		"code":           policy(by(all(debug, mine))),
		"signer":         policy(by(all(debug, ours))),
		"upper case":     policy(by(all(debug, c("x-ms-sgx-mrenclave", strings.ToUpper(code))))),
		"as a bool":      policy(by(all(`{"claim":"x-ms-sgx-is-debuggable","equals":false}`, mine))),
		"either of ours": policy(by(all(debug, mine)), by(all(debug, ours))),
		"nested":         policy(by(either(all(debug, mine), all(debug, mine, ours)))),
		"and more":       policy(by(all(debug, mine, c("x-ms-attestation-type", "sgx")))),
	} {
		if err := azurehsm.CheckPolicy([]byte(good), authority, id); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := c("x-ms-sgx-mrenclave", strings.Repeat("0", 64))
	for name, bad := range map[string]string{
		"empty":               "",
		"no JSON":             "policy",
		"no alternatives":     policy(),
		"version":             strings.Replace(policy(by(all(debug, mine))), "1.0.0", "2.0.0", 1),
		"nothing demanded":    policy(by(all())),
		"debuggable":          policy(by(all(mine))),
		"debuggable true":     policy(by(all(c("x-ms-sgx-is-debuggable", "true"), mine))),
		"other code":          policy(by(all(debug, other))),
		"signer alone":        policy(by(all(debug, c("x-ms-sgx-mrsigner", signer)))),
		"other product":       policy(by(all(debug, c("x-ms-sgx-mrsigner", signer), c("x-ms-sgx-product-id", "8")))),
		"another alternative": policy(by(all(debug, mine)), by(all(debug))),
		"other authority":     strings.Replace(policy(by(all(debug, mine))), authority, "https://evil.attest.azure.net", 1),
		"no authority":        policy(all(debug, mine)),
		"either of":           policy(by(all(debug, either(mine, other)))),
		"either of nothing":   policy(by(all(debug, either()))),
		"two forms":           policy(by(`{"allOf":[` + debug + `,` + mine + `],"anyOf":[` + debug + `]}`)),
		"authority inside":    policy(by(all(by(all(debug, mine))))),
		"deep":                policy(by(strings.Repeat(`{"allOf":[`, 12) + debug + "," + mine + strings.Repeat("]}", 12))),
		"long":                policy(by(all(debug, mine))) + strings.Repeat(" ", 16<<10),
	} {
		if err := azurehsm.CheckPolicy([]byte(bad), authority, id); err == nil {
			t.Errorf("%s is taken: %s", name, bad)
		}
	}
	w := newWorld(t)
	w.refuses(t, "of the key", func(*azurehsm.Options) {
		w.Key.Policy = strings.Replace(w.Key.Policy, "is-debuggable", "is-enabled", 1)
	},
		azurehsm.ErrKey, "alternative 1: it does not demand x-ms-sgx-is-debuggable false")
	w.refuses(t, "none", func(*azurehsm.Options) { w.Key.Policy = "" }, azurehsm.ErrKey, "it has no release policy")
}

func TestKeyRefused(t *testing.T) {
	w := newWorld(t)
	w.refuses(t, "not exportable", func(*azurehsm.Options) { w.Key.Exportable = false }, azurehsm.ErrKey, "it is not exportable")
	w.refuses(t, "disabled", func(*azurehsm.Options) { w.Key.Disabled = true }, azurehsm.ErrKey, "it is disabled")
	w.refuses(t, "expired", func(*azurehsm.Options) { w.Key.Expires = time.Now().Add(-time.Hour) }, azurehsm.ErrKey, "it expired at")
	w.refuses(t, "not yet", func(*azurehsm.Options) { w.Key.NotBefore = time.Now().Add(time.Hour) }, azurehsm.ErrKey, "it is not valid before")
	w.refuses(t, "type", func(*azurehsm.Options) { w.Key.Type = "RSA" }, azurehsm.ErrKey, "want RSA-HSM or oct-HSM")
	w.refuses(t, "name", func(o *azurehsm.Options) { o.Config.Key = "another" }, azurehsm.ErrKey, "status 404, KeyNotFound")
	w.refuses(t, "a short oct key", func(*azurehsm.Options) { w.Key.Oct(); w.Key.Versions["v1"].Bytes = make([]byte, 16) }, azurehsm.ErrKey, "128 bits, want 256")
	w.refuses(t, "forbidden", func(*azurehsm.Options) {
		w.Intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") == "" {
				return false
			}
			azuretest.Fail(rw, 403, "Forbidden", "Caller is not authorized to perform action.\nAt all.")
			return true
		}
	}, azurehsm.ErrRefused, "status 403, Forbidden: Caller is not authorized to perform action. At all.")
	w.refuses(t, "no JSON", func(*azurehsm.Options) {
		w.Intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") == "" {
				return false
			}
			_, _ = rw.Write([]byte("<html>"))
			return true
		}
	}, azurehsm.ErrUnreachable, "")
	w.refuses(t, "endless", func(*azurehsm.Options) {
		w.Intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") == "" {
				return false
			}
			_, _ = rw.Write(bytes.Repeat([]byte(" "), 2*azurehsm.MaxAnswerBytes))
			return true
		}
	}, azurehsm.ErrUnreachable, "too large")
}

func TestCredential(t *testing.T) {
	w := newWorld(t)
	w.refuses(t, "wrong secret", func(o *azurehsm.Options) {
		c, err := w.login(t, "wrong").Credential(w.Transport())
		if err != nil {
			t.Fatal(err)
		}
		o.Credential = c
	}, azurehsm.ErrCredential, "AADSTS7000215")
	w.refuses(t, "not taken by the vault", func(*azurehsm.Options) {
		w.Intercept = challenge(`Bearer authorization="https://login.microsoftonline.com/` + azuretest.Tenant + `", resource="https://managedhsm.azure.net"`)
	}, azurehsm.ErrCredential, "who are you?")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, l := range map[string]azurehsm.Login{
		"not both":                 {Tenant: "t", Client: "c", SecretFile: "a", TokenFile: "b"},
		"needs tenant and client":  {SecretFile: "a"},
		"no such file":             {Tenant: azuretest.Tenant, Client: "c", SecretFile: secret + ".none"},
		"does not hold one line":   {Tenant: azuretest.Tenant, Client: "c", SecretFile: secret},
		"want a regular file of m": {Tenant: azuretest.Tenant, Client: "c", SecretFile: filepath.Dir(secret)},
	} {
		_, err := l.Credential(w.Transport())
		refused(t, err, azurehsm.ErrCredential, text)
	}
	for _, l := range []azurehsm.Login{{}, {Client: "c"}, {Tenant: azuretest.Tenant, Client: "c", TokenFile: secret}} {
		if _, err := l.Credential(w.Transport()); err != nil {
			t.Error(err)
		}
	}
}

func TestOptions(t *testing.T) {
	_, err := azurehsm.Open(azurehsm.Options{})
	refused(t, err, azurehsm.ErrOptions, "it needs")
}

// RFC 5649, section 6.
func TestUnwrapPadded(t *testing.T) {
	kek := unhex(t, "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
	for plain, wrapped := range map[string]string{
		"c37b7e6492584340bed12207808941155068f738": "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
		"466f7250617369": "afbeb0f07dfbf5419200f2ccb50bb24f",
	} {
		b := unhex(t, wrapped)
		if got, err := azurehsm.UnwrapPadded(kek, b); err != nil || hex.EncodeToString(got) != plain {
			t.Errorf("%x, %v, want %s", got, err, plain)
		}
		if !bytes.Equal(azuretest.WrapPadded(kek, unhex(t, plain)), b) {
			t.Error("the tests wrap otherwise")
		}
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 1
			if _, err := azurehsm.UnwrapPadded(kek, bad); err == nil {
				t.Errorf("byte %d flipped is taken", i)
			}
		}
		for _, n := range []int{0, 8, len(b) - 1, len(b) - 8} {
			if _, err := azurehsm.UnwrapPadded(kek, b[:n]); err == nil && n < len(b) {
				t.Errorf("%d of %d bytes are taken", n, len(b))
			}
		}
	}
	for n := range 70 {
		secret := bytes.Repeat([]byte{0xff}, n+1)
		if got, err := azurehsm.UnwrapPadded(kek, azuretest.WrapPadded(kek, secret)); err != nil || !bytes.Equal(got, secret) {
			t.Errorf("%d bytes: %v", n+1, err)
		}
	}
}

// Computed from docs/protocol.md by other code.
func TestWrappingKeyVector(t *testing.T) {
	got, err := azurehsm.OctKey(bytes.Repeat([]byte{0x5a}, 32))
	if err != nil || hex.EncodeToString(got.Bytes()) != "4e61507c3b9485f2f46841f80a7cceeceb0729d96c028a370750f07b0109c363" {
		t.Errorf("%x, %v", got.Bytes(), err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever a service answers, nothing panics.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"request":{"enc":"RSA_AES_KEY_WRAP_256"},"response":{"key":{"key":{"kid":"k","kty":"RSA-HSM","key_hsm":"e30"}}}}`), `Bearer authorization="https://a/b", resource="c"`)
	f.Add([]byte(azuretest.PolicyFor(kdstest.Release(kdstest.NodeBuild, attest.Secure).Identity)), `authorization=/`)
	f.Fuzz(func(_ *testing.T, b []byte, challenge string) {
		_ = azurehsm.ReadAnswer(b)
		_ = azurehsm.CheckPolicy(b, "https://a", kdstest.Release(kdstest.NodeBuild, attest.Secure).Identity)
		_, _ = azurehsm.UnwrapPadded(make([]byte, 32), b)
		_ = azurehsm.Readable(challenge)
	})
}

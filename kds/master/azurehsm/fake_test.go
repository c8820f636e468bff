package azurehsm_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	azkeysfake "github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys/fake"

	"github.com/coffer-fs/coffer/kds/master/azurehsm"
	"github.com/coffer-fs/coffer/kds/master/azurehsm/azuretest"
)

// vaultBy sends what is for the vault to the library's own fake of it.
type vaultBy struct {
	vault, others policy.Transporter
}

func (v vaultBy) Do(r *http.Request) (*http.Response, error) {
	if r.URL.Host == azuretest.VaultHost {
		return v.vault.Do(r)
	}
	return v.others.Do(r)
}

// generated is the library's generated fake, with what a vault knows behind it: it
// checks the form of each request, and makes the form of each answer.
func (w *world) generated(fail *int) *azkeysfake.Server {
	return &azkeysfake.Server{
		GetKey: func(_ context.Context, name, version string, _ *azkeys.GetKeyOptions) (r fake.Responder[azkeys.GetKeyResponse], e fake.ErrorResponder) {
			name, rest, _ := strings.Cut(strings.TrimSuffix(name, "/"), "/") // the fake takes the version for a part of the name
			if version = version + rest; version == "" {
				version = w.Key.Current
			}
			if name != azuretest.KeyName || w.Key.Versions[version] == nil {
				e.SetResponseError(http.StatusNotFound, "KeyNotFound")
				return
			}
			var bundle azkeys.KeyBundle
			b, err := json.Marshal(w.Key.Bundle(version))
			if err == nil {
				err = json.Unmarshal(b, &bundle)
			}
			if err != nil {
				e.SetError(err)
				return
			}
			r.SetResponse(http.StatusOK, azkeys.GetKeyResponse{KeyBundle: bundle}, nil)
			return
		},
		Release: func(_ context.Context, _, _ string, q azkeys.ReleaseParameters, _ *azkeys.ReleaseOptions) (r fake.Responder[azkeys.ReleaseResponse], e fake.ErrorResponder) {
			if *fail != 0 {
				e.SetResponseError(*fail, "Failed")
				return
			}
			value, err := w.Release(w.Key.Current, *q.TargetAttestationToken, string(*q.Algorithm), *q.Nonce)
			if err != nil {
				e.SetResponseError(http.StatusForbidden, "Forbidden")
				return
			}
			r.SetResponse(http.StatusOK, azkeys.ReleaseResponse{KeyReleaseResult: azkeys.KeyReleaseResult{Value: &value}}, nil)
			return
		},
	}
}

func TestGeneratedFake(t *testing.T) {
	w, fail, dir := newWorld(t), 0, t.TempDir()
	o := w.options(t)
	o.Credential = &fake.TokenCredential{}
	o.Transport = vaultBy{azkeysfake.NewServerTransport(w.generated(&fail)), w.Transport()}
	a := mustKeys(t, o, dir, 1)
	if b := mustKeys(t, o, dir, 0); !get(t, a, 1).Equal(get(t, b, 1)) {
		t.Error("another key after a restart")
	}
	if b := mustKeys(t, w.options(t), dir, 0); !get(t, a, 1).Equal(get(t, b, 1)) {
		t.Error("the vault on the wire gives another key than the generated fake")
	}
	for status, want := range map[int]error{429: azurehsm.ErrThrottled, 403: azurehsm.ErrRefused, 401: azurehsm.ErrCredential, 500: azurehsm.ErrUnreachable, 404: azurehsm.ErrKey} {
		fail = status
		_, err := keys(t, o, dir, 0)
		refused(t, err, want, "have key \"coffer\" of https://coffer-test.managedhsm.azure.net released")
	}
	fail = 0
	w.Key.Policy = azuretest.PolicyFor(self(t, w.platform))
	w.EditClaims = func(c map[string]any) { c["x-ms-sgx-product-id"] = 999 }
	_, err := keys(t, o, dir, 0)
	refused(t, err, azurehsm.ErrRefused, "status 403")
}

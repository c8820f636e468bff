package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/kds/master/azurehsm/azuretest"
)

// A node whose master key is wrapped by a key in Azure: testdata/azure. Processes
// reach it by its real names, through a proxy.
func TestAzure(t *testing.T) {
	zeros := attest.Identity{SignerHash: sim.DefaultSigner, ProductID: 1}
	a := azuretest.New(t, zeros, func(quote []byte) (attest.Report, error) {
		return sim.Verifier{}.Verify(context.Background(), attest.Evidence{Format: attest.FormatSim, Data: quote})
	})
	var out atomic.Bool
	a.Intercept = func(w http.ResponseWriter, _ *http.Request) bool {
		if out.Load() {
			azuretest.Fail(w, http.StatusForbidden, "Forbidden", "out of order")
		}
		return out.Load()
	}
	t.Setenv("HTTPS_PROXY", a.Proxy(t)) // of nodes
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "azure"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("HTTPS_PROXY", os.Getenv("HTTPS_PROXY"))
			e.Setenv("TENANT", azuretest.Tenant)
			e.Setenv("CLIENT", azuretest.Client)
			config := func(name, vault, roots string) error {
				text := fmt.Sprintf("azure_hsm {\n  name = \"example\"\n  vault = \"https://%s\"\n  key = \"coffer\"\n  attestation = \"https://%s\"\n  roots = <<EOF\n%sEOF\n}\n", vault, azuretest.AttestationHost, roots)
				return os.WriteFile(filepath.Join(e.WorkDir, name), []byte(text), 0o600)
			}
			if err := config("node.hcl", azuretest.VaultHost, a.RootsPEM()); err != nil {
				return err
			}
			if err := config("wrong.hcl", "other.managedhsm.azure.net", a.RootsPEM()); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "secret"), []byte(azuretest.Secret+"\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "node": node, "halt": halt,
			"azure": func(_ *testscript.TestScript, neg bool, _ []string) { out.Store(neg) }},
	})
}

package platform_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/kds/kdstest"
)

// Nothing but the word sim gives a simulated CPU, and it needs its directory.
func TestNeverFallsBack(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		kind platform.Kind
		o    platform.Options
		want error
	}{
		{"", platform.Options{CPU: dir}, platform.ErrKind},
		{"auto", platform.Options{CPU: dir}, platform.ErrKind},
		{platform.SGX, platform.Options{}, attest.ErrNoEnclave},
		{platform.SGX, platform.Options{CPU: dir}, platform.ErrKind},
		{platform.Sim, platform.Options{}, platform.ErrKind},
		{platform.Sim, platform.Options{CPU: dir, EnclaveFile: filepath.Join(dir, "none")}, os.ErrNotExist},
	} {
		if p, err := platform.Open(c.kind, c.o); p != nil || !errors.Is(err, c.want) {
			t.Errorf("%s %+v: %v, %v, want %v", c.kind, c.o, p, err, c.want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("a CPU was made: %v, %v", left, err)
	}
}

func TestSim(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "enclave.json")
	if err := os.WriteFile(file, []byte(`{"signer":"`+strings.Repeat("c", 64)+`","productID":9,"revocationLevel":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(config string) attest.Identity {
		p, err := platform.Open(platform.Sim, platform.Options{CPU: filepath.Join(dir, "cpu"), EnclaveFile: file, Config: []byte(config)})
		if err != nil {
			t.Fatal(err)
		}
		id, err := p.Self()
		if err != nil || p.Mode() != attest.Simulation {
			t.Fatal(p.Mode(), err)
		}
		return id
	}
	a, b := open("a"), open("b")
	if a.CodeHash == b.CodeHash || a.CodeHash != open("a").CodeHash {
		t.Error("the configuration is not measured")
	}
	if a.SignerHash != kdstest.Hash("C") || a.ProductID != 9 || a.RevocationLevel != 2 || a.Level != attest.Insecure {
		t.Error(a)
	}
}

func TestVerifier(t *testing.T) {
	simulated := kdstest.Sim(t, kdstest.AppBuild)
	e, err := simulated.Quote(attest.ReportData{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := platform.Verifier(simulated).Verify(context.Background(), e); err != nil {
		t.Error(err)
	}
	release := kdstest.Release(kdstest.AppBuild, attest.Secure)
	if _, err := platform.Verifier(release).Verify(context.Background(), e); !errors.Is(err, attest.ErrEvidence) {
		t.Errorf("a release program reads simulated evidence: %v", err)
	}
}

// Every program reads SGX quotes, by Intel's root and the clock; these are real
// and old.
func TestVerifierReadsQuotes(t *testing.T) {
	const vectors = "../../../testdata/quotes/phala-sgx/"
	quote, err := os.ReadFile(vectors + "sgx_quote")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(vectors + "sgx_quote_collateral.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := dcap.ParseCollateral(text)
	if err != nil {
		t.Fatal(err)
	}
	e, err := dcap.Evidence(quote, c)
	if err != nil {
		t.Fatal(err)
	}
	bare := attest.Evidence{Format: attest.FormatOpenEnclave, Data: quote}
	for _, p := range []attest.Platform{kdstest.Sim(t, kdstest.AppBuild), kdstest.Release(kdstest.AppBuild, attest.Secure)} {
		if _, err := platform.Verifier(p).Verify(context.Background(), e); !errors.Is(err, dcap.ErrDate) {
			t.Errorf("%s: %v", p.Mode(), err)
		}
		if _, err := platform.Verifier(p).Verify(context.Background(), bare); !errors.Is(err, attest.ErrEvidence) {
			t.Errorf("%s: %v", p.Mode(), err)
		}
	}
}

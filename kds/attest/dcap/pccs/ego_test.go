package pccs_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/dcap/dcaptest"
	"github.com/coffer-fs/coffer/kds/attest/dcap/pccs"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/kds/server"
)

// collateralOf serves collateral on loopback.
func collateralOf(t *testing.T, c dcap.Collateral) string {
	t.Helper()
	h := httptest.NewServer(dcaptest.Service{Collateral: c})
	t.Cleanup(h.Close)
	return h.URL + "/sgx/certification/v4"
}

// nodeWith is a node in EGo on a machine, that verifies quotes by o.
func nodeWith(t *testing.T, m *dcaptest.Machine, o dcap.Options) *kdstest.KDS {
	t.Helper()
	return kdstest.New(t, kdstest.Options{Platform: dcaptest.EGo{Enclave: dcaptest.Enclave{Machine: m}}, Now: o.Now,
		Masters: []master.Provider{kdstest.Master{KeyType: kds.Cluster}}, Change: func(so *server.Options) { so.Verifier = dcap.New(o) }})
}

// Two enclaves in EGo, an asker and a node, whose quotes come without collateral:
// each gets that from a PCCS, and a key passes. Without a PCCS none does.
func TestEGo(t *testing.T) {
	m := dcaptest.New()
	m.RootCert = m.Root()
	_, c := m.Make(nil)
	url := collateralOf(t, c)
	with := func(url string) dcap.Options {
		o := m.Options()
		if url != "" {
			o.Source = &pccs.Client{URL: url}
		}
		return o
	}
	node := func(url string) *kdstest.KDS { return nodeWith(t, m, with(url)) }
	asker := func(k *kdstest.KDS, url, trust string) *kds.Client {
		p, err := policy.Parse(trust)
		if err != nil {
			t.Fatal(err)
		}
		return &kds.Client{URL: k.URL, Platform: dcaptest.EGo{Enclave: dcaptest.Enclave{Machine: m}}, Verifier: dcap.New(with(url)), HTTP: k.HTTP,
			Constraint: p, Tries: 1, Now: m.Options().Now}
	}
	self, err := (dcaptest.Enclave{Machine: m}).Self()
	if err != nil {
		t.Fatal(err)
	}
	trust := "S:" + string(self.SignerHash) + " PROD:1 SEC:SECURE"
	spec := kdstest.Spec(t, trust)
	spec.MasterKeyType = kds.Cluster
	if _, err := asker(node(url), url, trust).Private(ctx, spec, kds.Storage); err != nil {
		t.Errorf("both have a PCCS: %v", err)
	}
	if _, err := asker(node(""), url, trust).Private(ctx, spec, kds.Storage); !errors.Is(err, kds.ErrRefused) || !strings.Contains(err.Error(), "collateral") {
		t.Errorf("the node has none: %v", err)
	}
	if _, err := asker(node(url), "", trust).Private(ctx, spec, kds.Storage); !errors.Is(err, kds.ErrNotTrusted) || !strings.Contains(err.Error(), "collateral") {
		t.Errorf("the asker has none: %v", err)
	}
	if _, err := asker(node(url), url, "S:"+string(kdstest.Hash("9"))+" PROD:1 SEC:SECURE").Private(ctx, spec, kds.Storage); !errors.Is(err, kds.ErrNotTrusted) {
		t.Errorf("another node: %v", err)
	}
	m.TCBInfo["tcbLevels"] = []any{dcaptest.Level(5, 13, "Revoked")}
	_, revoked := m.Make(nil)
	if _, err := asker(node(collateralOf(t, revoked)), url, trust).Private(ctx, spec, kds.Storage); !errors.Is(err, kds.ErrRefused) || !strings.Contains(err.Error(), "got INSECURE") {
		t.Errorf("the PCCS says that the platform is revoked: %v", err)
	}
}

// When a node's own collateral service is away, or gives what will not do, that says
// nothing of who asks: he is told to come again, and another node may serve him. What
// is wrong with his machine stays a refusal.
func TestServiceAway(t *testing.T) {
	m := dcaptest.New()
	m.RootCert = m.Root()
	_, c := m.Make(nil)
	var now atomic.Pointer[dcaptest.Service] // nil: every connection is cut
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := now.Load()
		if s == nil {
			panic(http.ErrAbortHandler)
		}
		s.ServeHTTP(w, r)
	}))
	defer h.Close()
	serve := func(c dcap.Collateral) { now.Store(&dcaptest.Service{Collateral: c}) }
	serve(c)
	o := m.Options()
	o.Source = &pccs.Client{URL: h.URL + "/v4", Now: o.Now}
	k := nodeWith(t, m, o)
	ask := func() error {
		_, fresh := m.Make(nil)
		o := m.Options()
		o.Source = &pccs.Client{URL: collateralOf(t, fresh)}
		asker := &kds.Client{URL: k.URL, Platform: dcaptest.EGo{Enclave: dcaptest.Enclave{Machine: m}}, Verifier: dcap.New(o), HTTP: k.HTTP,
			Constraint: kdstest.Policy(t, "S:"+string(signer(t, m))+" PROD:1 SEC:STALE"), Tries: 1, Now: o.Now}
		spec := kdstest.Spec(t, asker.Constraint.String())
		spec.MasterKeyType = kds.Cluster
		_, err := asker.Private(ctx, spec, kds.Storage)
		return err
	}
	status := func(what string, want int) {
		t.Helper()
		err := ask()
		var r *kds.RefusedError
		if !errors.As(err, &r) || r.Status != want || r.Temporary() != (want == http.StatusServiceUnavailable) {
			t.Errorf("%s: %v, want status %d", what, err, want)
		}
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	away := httptest.NewServer(nil)
	away.Close()
	if _, err := dcap.New(dcap.Options{Roots: o.Roots, Now: o.Now, Source: &pccs.Client{URL: away.URL + "/v4"}}).Verify(ctx, quoteOf(t, m)); !errors.Is(err, attest.ErrUnavailable) || errors.Is(err, attest.ErrEvidence) {
		t.Errorf("never there: %v", err)
	}
	now.Store(nil)
	m.Now = m.Now.Add(2 * pccs.DefaultMaxAge)
	if err := ask(); err != nil {
		t.Errorf("away, and what it gave is valid: %v", err)
	}
	m.Now = m.Now.AddDate(0, 0, 40)
	m.TCBInfo["issueDate"], m.TCBInfo["nextUpdate"] = m.Date(-1), m.Date(20)
	m.QE["issueDate"], m.QE["nextUpdate"] = m.Date(-1), m.Date(20)
	status("away, and what it gave has expired", http.StatusServiceUnavailable)
	serve(c)
	status("back with what has expired", http.StatusServiceUnavailable)
	_, fresh := m.Make(nil)
	forged := fresh
	forged.TCBInfoSignature = bytes.Clone(fresh.QEIdentitySignature)
	serve(forged)
	m.Now = m.Now.Add(2 * pccs.DefaultMaxAge)
	status("with what nobody signed", http.StatusServiceUnavailable)
	serve(fresh)
	m.Now = m.Now.Add(2 * pccs.DefaultMaxAge)
	if err := ask(); err != nil {
		t.Errorf("back: %v", err)
	}
	m.Revoked["ca"] = []int64{dcaptest.SerialPCK}
	_, revoked := m.Make(nil)
	m.Revoked["ca"] = nil
	serve(revoked)
	m.Now = m.Now.Add(2 * pccs.DefaultMaxAge)
	status("the machine is revoked", http.StatusForbidden)
}

func signer(t *testing.T, m *dcaptest.Machine) attest.Hash {
	t.Helper()
	self, err := (dcaptest.Enclave{Machine: m}).Self()
	if err != nil {
		t.Fatal(err)
	}
	return self.SignerHash
}

func quoteOf(t *testing.T, m *dcaptest.Machine) attest.Evidence {
	t.Helper()
	e, err := (dcaptest.EGo{Enclave: dcaptest.Enclave{Machine: m}}).Quote(attest.ReportData{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A real quote of a real machine, as EGo would send it, with Intel's own collateral
// from a PCCS: a node verifies it to its end against Intel's root, and refuses it
// because it was made over something else than this request.
func TestEGoRealQuote(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile("../../../../testdata/quotes/phala-sgx/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	c, err := dcap.ParseCollateral(read("sgx_quote_collateral.json"))
	if err != nil {
		t.Fatal(err)
	}
	then := func() time.Time { return time.Date(2025, 6, 20, 0, 0, 0, 0, time.UTC) }
	m := dcaptest.New()
	m.RootCert = m.Root()
	k := nodeWith(t, m, dcap.Options{Now: then, Source: &pccs.Client{URL: collateralOf(t, c)}})
	spec := kdstest.Spec(t, "S:815F42F11CF64430C30BAB7816BA596A1DA0130C3B028B673133A66CF9A3E0E6 PROD:0")
	spec.MasterKeyType = kds.Cluster
	ask := func(quote []byte) error {
		p := recorded{kdstest.Release(kdstest.AppBuild, attest.Stale), dcaptest.OpenEnclave(quote)}
		_, err := k.Client(t, p, "").Private(ctx, spec, kds.Storage)
		return err
	}
	refused := func(what string, err error, text string) {
		t.Helper()
		var r *kds.RefusedError
		if !errors.As(err, &r) || r.Status != http.StatusForbidden || !strings.Contains(r.Reason, text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("as it is", ask(read("sgx_quote")), "it is not for this request")
	changed := read("sgx_quote")
	changed[100] ^= 1
	refused("a changed bit", ask(changed), "signature")
}

// recorded is a platform that always shows the same evidence.
type recorded struct {
	attest.Platform
	evidence attest.Evidence
}

func (r recorded) Quote(attest.ReportData) (attest.Evidence, error) { return r.evidence, nil }

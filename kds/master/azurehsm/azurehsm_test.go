package azurehsm_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/dcap/dcaptest"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/master/azurehsm"
	"github.com/coffer-fs/coffer/kds/master/azurehsm/azuretest"
	"github.com/coffer-fs/coffer/kds/master/wrapped"
	"github.com/coffer-fs/coffer/kds/master/wrapped/wrappedtest"
	"github.com/coffer-fs/coffer/kds/server"
	"github.com/coffer-fs/coffer/key"
)

var (
	ctx = context.Background()
	get = wrappedtest.Get
)

// world is an enclave on an SGX machine, and an Azure that verifies its quotes.
type world struct {
	*azuretest.Azure
	machine  *dcaptest.Machine
	platform attest.Platform
}

func newWorld(t *testing.T) *world {
	t.Helper()
	m := dcaptest.New()
	m.RootCert = m.Root()
	w := &world{machine: m, platform: dcaptest.Enclave{Machine: m}}
	v := dcap.New(m.Options())
	w.Azure = azuretest.New(t, self(t, w.platform), func(quote []byte) (attest.Report, error) {
		_, collateral := m.Make(nil)
		verdict, err := v.Quote(ctx, quote, collateral)
		return attest.Report{Identity: verdict.Identity, ReportData: verdict.ReportData}, err
	})
	return w
}

func self(t *testing.T, p attest.Platform) attest.Identity {
	t.Helper()
	id, err := p.Self()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// login is the client's, by its secret in a file.
func (w *world) login(t *testing.T, secret string) azurehsm.Login {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return azurehsm.Login{Tenant: azuretest.Tenant, Client: azuretest.Client, SecretFile: path, Authority: "https://" + azuretest.LoginHost}
}

func (w *world) credential(t *testing.T) azcore.TokenCredential {
	t.Helper()
	c, err := w.login(t, azuretest.Secret).Credential(w.Transport())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) options(t *testing.T) azurehsm.Options {
	t.Helper()
	return azurehsm.Options{Config: w.Config(), Platform: w.platform, Credential: w.credential(t), Transport: w.Transport(), RetryDelay: time.Millisecond}
}

// keys opens the master keys in dir by the key in Azure.
func keys(t *testing.T, o azurehsm.Options, dir string, create kds.Generation) (*wrapped.Keys, error) {
	t.Helper()
	kek, err := azurehsm.Open(o)
	if err != nil {
		return nil, err
	}
	defer kek.Close()
	return wrappedtest.Open(kek, dir, o.Platform.Mode(), create)
}

func mustKeys(t *testing.T, o azurehsm.Options, dir string, create kds.Generation) *wrapped.Keys {
	t.Helper()
	return wrappedtest.Must(t)(keys(t, o, dir, create))
}

func refused(t *testing.T, err, want error, text string) {
	t.Helper()
	wrappedtest.Refused(t, err, want, text)
	for _, other := range azurehsm.Sentinels() {
		if err != nil && other != want && errors.Is(err, other) {
			t.Errorf("%v is also %v", err, other)
		}
	}
}

func TestTheSameForEver(t *testing.T) {
	for _, typ := range []string{"RSA-HSM", "oct-HSM"} {
		w := newWorld(t)
		if typ == "oct-HSM" {
			w.Key.Oct()
		}
		o := w.options(t)
		wrappedtest.SameForEver(t, kds.AzureHSM, func(dir string, create kds.Generation) (*wrapped.Keys, error) { return keys(t, o, dir, create) })
	}
}

// A new version wraps what is new; the old one opens what is old.
func TestVersions(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	o := w.options(t)
	a := mustKeys(t, o, dir, 1)
	w.Key.Rotate(t, "v2")
	c := mustKeys(t, o, dir, 2)
	d := mustKeys(t, o, dir, 0)
	if !get(t, d, 1).Equal(get(t, a, 1)) || !get(t, d, 2).Equal(get(t, c, 2)) || get(t, c, 2).Equal(get(t, c, 1)) {
		t.Error("generations are mixed up")
	}
	delete(w.Key.Versions, "v1")
	_, err := keys(t, o, dir, 0)
	refused(t, err, azurehsm.ErrKey, "status 404, KeyNotFound: no such version")
}

// The vault does not wrap anything: the release is to a key of the enclave, by a
// token over the request's quote, and each start asks anew.
func TestNothingSecretPasses(t *testing.T) {
	defer azurehsm.FreshReleaseKeys()()
	w, dir := newWorld(t), t.TempDir()
	k := mustKeys(t, w.options(t), dir, 1)
	record, err := os.ReadFile(filepath.Join(dir, "master-azure_hsm-1.wrapped"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(record), string(get(t, k, 1).Bytes())) {
		t.Error("the record has the master key")
	}
	for _, path := range []string{azuretest.AttestationHost + "/attest/SgxEnclave", azuretest.VaultHost + "/keys/coffer/v1/release"} {
		if w.Asked[path] == 0 {
			t.Errorf("%s was not asked: %v", path, w.Asked)
		}
	}
}

// An enclave with a real quote gets a key of type azure_hsm from a node on SGX; a
// simulated one does not, and a simulated node keeps a development key.
func TestEnclaveGetsAKey(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	now := w.machine.Options().Now
	verifier := attest.Verifiers{attest.FormatSGXQuote: dcap.New(w.machine.Options()), attest.FormatSim: sim.Verifier{}}
	node := func(create kds.Generation) *kdstest.KDS {
		return kdstest.New(t, kdstest.Options{Platform: w.platform, Now: now, Masters: []master.Provider{mustKeys(t, w.options(t), dir, create)},
			Change: func(o *server.Options) { o.Verifier = verifier }})
	}
	spec := kdstest.Spec(t, "C:"+string(self(t, w.platform).CodeHash)+" SEC:SECURE")
	spec.MasterKeyType = kds.AzureHSM
	ask := func(k *kdstest.KDS, p attest.Platform) (key.Key, error) {
		c := k.Client(t, p, "")
		c.Verifier = verifier
		return c.Private(ctx, spec, kds.Storage)
	}
	first := node(1)
	a, err := ask(first, w.platform)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := ask(node(0), w.platform); err != nil || !a.Equal(b) {
		t.Errorf("another node has another key: %v", err)
	}
	var r *kds.RefusedError
	if _, err := ask(first, kdstest.Sim(t, kdstest.AppBuild)); !errors.As(err, &r) || r.Status != http.StatusForbidden || !strings.Contains(r.Reason, "simulated enclaves") {
		t.Errorf("a simulated enclave: %v", err)
	}
}

// An outage after the start stops no node; one that is started then says what is
// wrong.
func TestOutage(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	o := w.options(t)
	k := mustKeys(t, o, dir, 1)
	mk := get(t, k, 1).Derive(nil, "a copy")
	w.Lock()
	w.Intercept = func(rw http.ResponseWriter, _ *http.Request) bool {
		azuretest.Fail(rw, 503, "ServiceUnavailable", "down for a test")
		return true
	}
	w.Unlock()
	if !get(t, k, 1).Derive(nil, "a copy").Equal(mk) {
		t.Error("the key in memory has changed")
	}
	_, err := keys(t, o, dir, 0)
	refused(t, err, azurehsm.ErrUnreachable, "status 503, ServiceUnavailable: down for a test")
	w.Lock()
	w.Intercept = func(rw http.ResponseWriter, _ *http.Request) bool {
		c, _, err := rw.(http.Hijacker).Hijack()
		if err == nil {
			_ = c.Close()
		}
		return true
	}
	w.Unlock()
	_, err = keys(t, o, dir, 0)
	refused(t, err, azurehsm.ErrUnreachable, "look at key")
	w.Lock()
	w.Intercept = nil
	w.Unlock()
	if again := mustKeys(t, o, dir, 0); !get(t, again, 1).Equal(get(t, k, 1)) {
		t.Error("another key after the outage")
	}
}

// Throttling is waited out, for a bounded time.
func TestThrottling(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	o := w.options(t)
	for _, host := range []string{azuretest.VaultHost, azuretest.AttestationHost} {
		left := 2
		throttle := func(after string, name string) func(http.ResponseWriter, *http.Request) bool {
			return func(rw http.ResponseWriter, r *http.Request) bool {
				if r.Host != host || left == 0 {
					return false
				}
				left--
				rw.Header().Set(name, after)
				azuretest.Fail(rw, 429, "Throttled", "too many")
				return true
			}
		}
		w.Intercept = throttle("5", "retry-after-ms")
		mustKeys(t, o, dir, 1)
		if left != 0 {
			t.Errorf("%s was not asked again", host)
		}
		left = 1000 // for ever
		_, err := keys(t, o, dir, 0)
		refused(t, err, azurehsm.ErrThrottled, "status 429, Throttled: too many")
		if asked := 1000 - left; asked != azurehsm.MaxTries {
			t.Errorf("%s was asked %d times, want %d", host, asked, azurehsm.MaxTries)
		}
		left = 1000
		w.Intercept = throttle(fmt.Sprint(int(azurehsm.MaxRetryDelay.Seconds())+1), "Retry-After")
		_, err = keys(t, o, dir, 0)
		refused(t, err, azurehsm.ErrThrottled, "too many")
		if left != 999 {
			t.Errorf("%s was waited for longer than it may ask for", host)
		}
	}
}

// Every wait ends with its context.
func TestCancelled(t *testing.T) {
	w := newWorld(t)
	kek, err := azurehsm.Open(w.options(t))
	if err != nil {
		t.Fatal(err)
	}
	c, cancel := context.WithCancel(ctx)
	w.Intercept = func(rw http.ResponseWriter, _ *http.Request) bool {
		cancel()
		rw.Header().Set("Retry-After", "10")
		azuretest.Fail(rw, 429, "Throttled", "too many")
		return true
	}
	if _, err := kek.Current(c); !errors.Is(err, context.Canceled) || !errors.Is(err, azurehsm.ErrUnreachable) {
		t.Error(err)
	}
}

// Simulated enclaves try it all, with a development key.
func TestSimulatedNode(t *testing.T) {
	p := kdstest.Sim(t, kdstest.NodeBuild)
	a := azuretest.New(t, self(t, p), func(quote []byte) (attest.Report, error) {
		return sim.Verifier{}.Verify(ctx, attest.Evidence{Format: attest.FormatSim, Data: quote})
	})
	w := &world{Azure: a, platform: p}
	dir := t.TempDir()
	masters := mustKeys(t, w.options(t), dir, 1)
	if masters.Type() != kds.Development {
		t.Fatalf("type %s", masters.Type())
	}
	k := kdstest.New(t, kdstest.Options{Platform: p, Masters: []master.Provider{masters}})
	asker := kdstest.Sim(t, kdstest.AppBuild)
	if _, err := k.Client(t, asker, "").Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage); err != nil {
		t.Error(err)
	}
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	spec.MasterKeyType = kds.AzureHSM
	if _, err := k.Client(t, asker, "").Private(ctx, spec, kds.Storage); !errors.Is(err, kds.ErrRefused) {
		t.Errorf("a simulated enclave asks for the type azure_hsm: %v", err)
	}
}

package dcap_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/dcap/dcaptest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/server"
)

// service is a KDS with a production key that reads the quotes of m.
func service(t *testing.T, m *dcaptest.Machine) *kdstest.KDS {
	t.Helper()
	return kdstest.New(t, kdstest.Options{Platform: kdstest.Release(kdstest.NodeBuild, attest.Secure), Masters: []master.Provider{kdstest.Master{KeyType: kds.Cluster}},
		Now: m.Options().Now, Change: func(o *server.Options) { o.Verifier = dcap.New(m.Options()) }})
}

func clusterSpec(t *testing.T, level string) kds.Spec {
	t.Helper()
	s := kdstest.Spec(t, "S:"+string(hash("BB"))+" PROD:1 SEC:"+level)
	s.MasterKeyType = kds.Cluster
	return s
}

// A release enclave on SGX gets a key by its quote, as far as its platform is
// what the policy asks for.
func TestRelease(t *testing.T) {
	m, _, _ := world(nil)
	k := service(t, m)
	client := k.Client(t, dcaptest.Enclave{Machine: m}, "")
	for _, level := range []string{"SECURE", "STALE"} {
		if _, err := client.Private(ctx, clusterSpec(t, level), kds.Storage); err != nil {
			t.Errorf("up to date for %s: %v", level, err)
		}
	}
	m.TCBInfo["tcbLevels"] = []any{dcaptest.Level(5, 13, "OutOfDate")}
	if _, err := client.Private(ctx, clusterSpec(t, "STALE"), kds.Storage); err != nil {
		t.Errorf("out of date for STALE: %v", err)
	}
	refusedKey(t, client, clusterSpec(t, "SECURE"), "SEC: wants security level SECURE, got STALE")
	m.TCBInfo["tcbLevels"] = []any{dcaptest.Level(5, 13, "Revoked")}
	refusedKey(t, client, clusterSpec(t, "STALE"), "SEC: wants security level STALE or SECURE, got INSECURE")
	m.Quoted.Report[dcaptest.OffsetAttributes] |= 2
	m.TCBInfo = dcaptest.New().TCBInfo
	refusedKey(t, client, clusterSpec(t, "SECURE"), "got INSECURE")
}

func refusedKey(t *testing.T, c *kds.Client, s kds.Spec, text string) {
	t.Helper()
	k, err := c.Private(ctx, s, kds.Storage)
	var r *kds.RefusedError
	if !errors.As(err, &r) || r.Status != 403 || !strings.Contains(err.Error(), text) || !k.IsZero() {
		t.Errorf("%v, want a refusal with %q", err, text)
	}
}

// K08: a host that sends collateral from before the newest, or from before
// today, gets no key for its enclave.
func TestK08_OldCollateralGetsNoKey(t *testing.T) {
	m, _, _ := world(nil)
	k := service(t, m)
	old, newest := dated(m, 5, 17), dated(m, 1, 18)
	client := func(host dcap.Collateral) *kds.Client {
		return k.Client(t, dcaptest.Enclave{Machine: m, Host: &host}, "")
	}
	for _, c := range []dcap.Collateral{old, newest} {
		if _, err := client(c).Private(ctx, clusterSpec(t, "SECURE"), kds.Storage); err != nil {
			t.Fatal(err)
		}
	}
	refusedKey(t, client(old), clusterSpec(t, "SECURE"), "collateral is too old: TCB info of 0090C06F0000")
	m.TCBInfo["nextUpdate"] = m.Date(-1)
	_, expired := m.Make(nil)
	refusedKey(t, client(expired), clusterSpec(t, "SECURE"), "not valid at this time: TCB info")
	released := 0
	for _, e := range k.Entries(t) {
		if e.Event == audit.Released {
			released++
		}
	}
	if released != 2 {
		t.Errorf("%d keys were released, want 2", released)
	}
}

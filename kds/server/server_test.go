package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/server"
)

var ctx = context.Background()

// The HTTP table of docs/protocol.md.
func TestHTTP(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{Masters: []master.Provider{
		kdstest.Master{KeyType: kds.Development}, kdstest.Master{KeyType: kds.Cluster, Err: errors.New("secret detail")}}})
	spec := func(typ string) string {
		return `{"spec":{"name":"n","masterKeyType":"` + typ + `","policyConstraint":"` + kdstest.AppPolicy + `"}}`
	}
	for _, c := range []struct {
		method, path, version, body string
		status                      int
		want                        string
	}{
		{"GET", "/attestation", "1", "", 200, `"responseKey"`},
		{"POST", "/public", "1", spec("development"), 200, `"purpose":"mail"`},
		{"POST", "/public", "1", strings.Replace(spec("development"), `"spec"`, `"purpose":"handover","spec"`, 1), 200, `"purpose":"handover"`},
		{"POST", "/public", "1", strings.Replace(spec("development"), `"spec"`, `"purpose":"storage","spec"`, 1), 400, "no public key"},
		{"POST", "/public", "1", strings.Replace(spec("development"), `"spec"`, `"generation":7,"spec"`, 1), 404, "no such master key generation"},
		{"POST", "/public", "1", spec("azure_hsm"), 404, "no master key of type azure_hsm"},
		{"POST", "/public", "1", spec("cluster"), 503, `{"reason":"the node cannot answer now"}`},
		{"POST", "/public", "1", spec("debug"), 400, "unknown master key type"},
		{"POST", "/private", "1", spec("development"), 400, "public key has 1216 bytes"},
		{"POST", "/master-key", "1", "", 404, "not part of a cluster"},
		{"GET", "/healthz", "", "", 200, "ok"},
		{"GET", "/readyz", "", "", 503, "master key of type cluster cannot be had"},
		{"GET", "/attestation", "", "", 400, "header API-VERSION: 1 is required"},
		{"GET", "/attestation", "2", "", 400, "header API-VERSION: 1 is required"},
		{"POST", "/private", "", "", 400, "header API-VERSION: 1 is required"},
		{"GET", "/private", "1", "", 405, "/private is asked for with POST"},
		{"POST", "/attestation", "1", "", 405, "/attestation is asked for with GET"},
		{"DELETE", "/readyz", "", "", 405, "GET"},
		{"GET", "/", "1", "", 404, "no such path"},
		{"POST", "/private/", "1", "", 404, "no such path"},
		{"POST", "//private", "1", "", 404, "no such path"},
		{"GET", "/metrics", "1", "", 404, "no such path"},
	} {
		q, err := http.NewRequest(c.method, k.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.version != "" {
			q.Header.Set("API-VERSION", c.version)
		}
		a, err := k.HTTP.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(a.Body)
		_ = a.Body.Close()
		if err != nil || a.StatusCode != c.status || !strings.Contains(string(b), c.want) || strings.Contains(string(b), "secret detail") {
			t.Errorf("%s %s: %d %s, %v, want %d %q", c.method, c.path, a.StatusCode, b, err, c.status, c.want)
		}
		if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: headers %v", c.method, c.path, a.Header)
		}
		if (a.StatusCode == 503) != (a.Header.Get("Retry-After") == "1") || (a.StatusCode == 405) != (a.Header.Get("Allow") != "") {
			t.Errorf("%s %s: headers %v", c.method, c.path, a.Header)
		}
	}
}

// Who may have keys of which type from which node: the table of decide.go.
func TestPermitted(t *testing.T) {
	fake := func(m attest.Mode) attest.Platform {
		f := kdstest.Release(kdstest.AppBuild, attest.Insecure)
		f.Identity.Mode = m
		return f
	}
	all := []master.Provider{kdstest.Master{KeyType: kds.Development}, kdstest.Master{KeyType: kds.Cluster}, kdstest.Master{KeyType: kds.AzureHSM}}
	for _, c := range []struct {
		typ         kds.MasterKeyType
		asker, node attest.Mode
		ok          bool
	}{
		{kds.Development, attest.Release, attest.Release, false},
		{kds.Development, attest.Release, attest.Debug, false},
		{kds.Development, attest.Debug, attest.Release, true},
		{kds.Development, attest.Debug, attest.Debug, true},
		{kds.Development, attest.Simulation, attest.Release, false},
		{kds.Development, attest.Simulation, attest.Debug, true},
		{kds.Development, attest.Simulation, attest.Simulation, true},
		{kds.Cluster, attest.Release, attest.Release, true},
		{kds.Cluster, attest.Debug, attest.Release, true},
		{kds.Cluster, attest.Simulation, attest.Release, false},
		{kds.Cluster, attest.Simulation, attest.Debug, false},
		{kds.Cluster, attest.Simulation, attest.Simulation, false},
		{kds.AzureHSM, attest.Release, attest.Release, true},
		{kds.AzureHSM, attest.Simulation, attest.Simulation, false},
	} {
		k := kdstest.New(t, kdstest.Options{Platform: fake(c.node), Masters: all})
		s := kdstest.Spec(t, kdstest.AppPolicy)
		s.MasterKeyType = c.typ
		_, err := k.Client(t, fake(c.asker), "").Private(ctx, s, kds.Storage)
		if (err == nil) != c.ok {
			t.Errorf("%s, %s asks a %s node: %v", c.typ, c.asker, c.node, err)
		}
		entries := k.Entries(t)
		if want := map[bool]audit.Event{true: audit.Released, false: audit.Refused}[c.ok]; entries[len(entries)-1].Event != want {
			t.Errorf("%s, %s asks a %s node: audit says %s", c.typ, c.asker, c.node, entries[len(entries)-1].Event)
		}
	}
}

// Every decision is in the audit log, with who, what and why, and no key is.
func TestAudit(t *testing.T) {
	var out bytes.Buffer
	k := kdstest.New(t, kdstest.Options{Change: func(o *server.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}})
	c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")
	if _, err := c.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Mail); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy+" REVOKE:1"), kds.Storage); !errors.Is(err, kds.ErrRefused) {
		t.Fatal(err)
	}
	if status, _ := k.Post(t, "/private", []byte("nonsense")); status != 400 {
		t.Fatal(status)
	}
	e := k.Entries(t)
	if len(e) != 3 || e[0].Event != audit.Started || e[1].Event != audit.Released || e[2].Event != audit.Refused {
		t.Fatalf("%+v", e)
	}
	who := audit.Asker{CodeHash: string(kdstest.Hash("A")), Signer: string(kdstest.Hash("B")), ProductID: 1, Level: "INSECURE", Mode: "simulation"}
	if *e[1].Asker != who || e[1].Reason != "" || e[1].Key.Purpose != "mail" || e[1].Key.Policy != kdstest.AppPolicy || e[1].Key.Generation != 1 ||
		len(e[1].Key.SpecHash) != 64 || len(e[1].Key.RequestHash) != 128 || e[1].Key.Name != kds.EnclavePersistence {
		t.Errorf("%+v %+v", e[1].Asker, e[1].Key)
	}
	if *e[2].Asker != who || !strings.Contains(e[2].Reason, "REVOKE: wants revocation level 1 or more, got 0") {
		t.Errorf("%+v", e[2])
	}
	if strings.Count(out.String(), `"kds request"`) != 3 || !strings.Contains(out.String(), `"status":403`) {
		t.Error(out.String())
	}
}

// Evidence is made anew when it is old, or when the clock went back, and an old
// one is shown while no new one can be had.
func TestEvidenceRenewed(t *testing.T) {
	now := time.Unix(1_760_000_000, 0)
	p := &moody{Platform: kdstest.Sim(t, kdstest.NodeBuild)}
	k := kdstest.New(t, kdstest.Options{Platform: p, Now: func() time.Time { return now }})
	shown := func() kds.Attestation {
		q, err := http.NewRequest(http.MethodGet, k.URL+"/attestation", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set(kds.VersionHeader, kds.Version)
		a, err := k.HTTP.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		var at kds.Attestation
		if err := json.NewDecoder(a.Body).Decode(&at); err != nil {
			t.Fatal(err)
		}
		r, err := k.Verifier.Verify(ctx, at.Evidence)
		if err != nil || r.ReportData != kds.ResponseKeyData(ed25519.PublicKey(at.ResponseKey)) {
			t.Errorf("evidence is not for the response key: %v", err)
		}
		return at
	}
	first := shown()
	for _, c := range []struct {
		after  time.Duration
		broken bool
		quotes int
	}{{0, false, 1}, {server.EvidenceMaxAge, false, 1}, {time.Second, false, 2}, {2 * server.EvidenceMaxAge, true, 3}, {0, false, 4}, {-time.Hour, false, 5}} {
		now, p.broken = now.Add(c.after), c.broken
		if at := shown(); !bytes.Equal(at.ResponseKey, first.ResponseKey) || p.quotes != c.quotes {
			t.Errorf("after %v: %d quotes, want %d", c.after, p.quotes, c.quotes)
		}
	}
}

// moody is a platform that counts its quotes and may fail.
type moody struct {
	attest.Platform
	quotes int
	broken bool
}

func (m *moody) Quote(d attest.ReportData) (attest.Evidence, error) {
	m.quotes++
	if m.broken {
		return attest.Evidence{}, errors.New("no quote today")
	}
	return m.Platform.Quote(d)
}

func TestOptions(t *testing.T) {
	whole := server.Options{Platform: kdstest.Sim(t, kdstest.NodeBuild), Verifier: kdstest.Verifier(),
		Masters: []master.Provider{kdstest.Master{KeyType: kds.Development}}, Audit: silent{}}
	if _, err := server.New(whole); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*server.Options){
		"platform": func(o *server.Options) { o.Platform = nil },
		"verifier": func(o *server.Options) { o.Verifier = nil },
		"audit":    func(o *server.Options) { o.Audit = nil },
		"masters":  func(o *server.Options) { o.Masters = nil },
		"twice":    func(o *server.Options) { o.Masters = append(o.Masters, o.Masters[0]) },
	} {
		o := whole
		change(&o)
		if _, err := server.New(o); !errors.Is(err, server.ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := whole
	o.Platform = &moody{Platform: o.Platform, broken: true}
	if _, err := server.New(o); err == nil || !strings.Contains(err.Error(), "no quote today") {
		t.Errorf("no evidence: %v", err)
	}
}

type silent struct{}

func (silent) Append(audit.Entry) error { return nil }
func (silent) Err() error               { return nil }

// slowAudit holds a decision until it is let go.
type slowAudit struct{ entered, leave chan struct{} }

func (s slowAudit) Append(audit.Entry) error { close(s.entered); <-s.leave; return nil }
func (slowAudit) Err() error                 { return nil }

// A stopped node answers what it has begun, and takes nothing new.
func TestServeStops(t *testing.T) {
	held := slowAudit{make(chan struct{}), make(chan struct{})}
	k := kdstest.New(t, kdstest.Options{Audit: held})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- k.Node.Serve(serving, l) }()

	client := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "http://"+l.Addr().String())
	got := make(chan error, 1)
	go func() { _, err := client.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage); got <- err }()
	<-held.entered
	stop()
	for { // until the listener is closed, without a sleep
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		_ = c.Close()
	}
	select {
	case err := <-ended:
		t.Fatalf("the node ended with a request running: %v", err)
	default:
	}
	close(held.leave)
	if err := <-got; err != nil {
		t.Errorf("the running request: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func FuzzPrivate(f *testing.F) {
	k := kdstest.New(f, kdstest.Options{})
	relay := k.NewRelay(f)
	c := k.Client(f, kdstest.Sim(f, kdstest.AppBuild), relay.URL)
	if _, err := c.Private(ctx, kdstest.Spec(f, kdstest.AppPolicy), kds.Storage); err != nil {
		f.Fatal(err)
	}
	f.Add(relay.Requests[0])
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := kds.DecodePrivateRequest(b); err == nil && (r.Spec.Check() != nil || r.Purpose.Check() != nil) {
			t.Errorf("decoded %+v", r)
		}
		if r, err := kds.DecodePublicRequest(b); err == nil && (r.Spec.Check() != nil || r.Purpose == kds.Storage) {
			t.Errorf("decoded %+v", r)
		}
	})
}

// What a release costs, with evidence of a simulated CPU and a synced audit line, which
// askers at the same time share. The asker's part is in it, and is the larger one:
// make kds-load has the node's alone.
func BenchmarkPrivate(b *testing.B) {
	k := kdstest.New(b, kdstest.Options{})
	c := k.Client(b, kdstest.Sim(b, kdstest.AppBuild), "")
	spec := kdstest.Spec(b, kdstest.AppPolicy)
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Private(ctx, spec, kds.Storage); err != nil {
				b.Error(err)
			}
		}
	})
}

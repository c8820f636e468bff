package kds_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/key"
)

var ctx = context.Background()

func private(t *testing.T, c *kds.Client, s kds.Spec, p kds.Purpose) key.Key {
	t.Helper()
	k, err := c.Private(ctx, s, p)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func wants(t *testing.T, what string, err, target error, text string) {
	t.Helper()
	if !errors.Is(err, target) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want %v with %q", what, err, target, text)
	}
}

// The same spec gives the same key, to every enclave that meets its policy, on
// every node with the same master key.
func TestSameSpecSameKey(t *testing.T) {
	dir := t.TempDir()
	k := kdstest.New(t, kdstest.Options{Dir: dir})
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	a := private(t, k.Client(t, kdstest.Sim(t, kdstest.AppBuild), ""), spec, kds.Storage)

	newer := kdstest.AppBuild
	newer.CodeHash, newer.RevocationLevel = kdstest.Hash("C"), 1
	if b := private(t, k.Client(t, kdstest.Sim(t, newer), ""), spec, kds.Storage); !a.Equal(b) {
		t.Error("another build of the same signer and product gets another key")
	}
	spaced := kdstest.Spec(t, "  SEC:INSECURE PROD:01  S:"+strings.ToLower(string(kdstest.AppBuild.SignerHash)))
	if b := private(t, k.Client(t, kdstest.Sim(t, kdstest.AppBuild), ""), spaced, kds.Storage); !a.Equal(b) {
		t.Error("another spelling of the policy gives another key")
	}
	second := kdstest.New(t, kdstest.Options{Dir: dir, Audit: nowhere{}})
	if b := private(t, second.Client(t, kdstest.Sim(t, kdstest.AppBuild), ""), spec, kds.Storage); !a.Equal(b) {
		t.Error("another node with the same master key gives another key")
	}
	other := kdstest.New(t, kdstest.Options{})
	if b := private(t, other.Client(t, kdstest.Sim(t, kdstest.AppBuild), ""), spec, kds.Storage); a.Equal(b) {
		t.Error("another master key gives the same key")
	}
	named := spec
	named.Name = "another"
	for _, b := range []key.Key{
		private(t, k.Client(t, kdstest.Sim(t, kdstest.AppBuild), ""), named, kds.Storage),
		private(t, k.Client(t, kdstest.Sim(t, kdstest.AppBuild), ""), spec, kds.Mail),
		private(t, k.Client(t, kdstest.Sim(t, kdstest.AppBuild), ""), spec, kds.Handover),
	} {
		if a.Equal(b) {
			t.Error("another name or purpose gives the same key")
		}
	}
}

// nowhere is an audit log for nodes that share a directory.
type nowhere struct{}

func (nowhere) Append(audit.Entry) error { return nil }
func (nowhere) Err() error               { return nil }

// Who seals to the public key of a spec is read by whoever gets the private one.
func TestPublicMatchesPrivate(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	outsider := k.Client(t, nil, "")
	inside := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")
	for _, p := range []kds.Purpose{kds.Mail, kds.Handover} {
		pub, err := outsider.Public(ctx, spec, p)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := kds.KeyPair(private(t, inside, spec, p))
		if err != nil || !bytes.Equal(pair.PublicKey().Bytes(), pub.Bytes()) {
			t.Errorf("%s: the keys do not belong together: %v", p, err)
		}
	}
	_, err := outsider.Public(ctx, spec, kds.Storage)
	wants(t, "public storage", err, kds.ErrSpec, "no public key")
	_, err = outsider.Private(ctx, spec, kds.Storage)
	wants(t, "no platform", err, kds.ErrClient, "no platform")
}

func TestReleased(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")
	r, err := c.Release(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage, 1)
	if err != nil || r.Generation != 1 || r.KDS.CodeHash != kdstest.NodeBuild.CodeHash {
		t.Errorf("%+v, %v", r, err)
	}
	_, err = c.Release(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage, 2)
	wants(t, "generation 2", err, kds.ErrRefused, "generation")
}

func TestRefusals(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")
	cluster := kdstest.Spec(t, kdstest.AppPolicy)
	cluster.MasterKeyType = kds.AzureHSM
	for _, q := range []struct {
		spec   kds.Spec
		status int
		text   string
	}{
		{kdstest.Spec(t, "C:"+string(kdstest.Hash("9"))), 403, "C: wants code hash 9999"},
		{kdstest.Spec(t, kdstest.AppPolicy+" REVOKE:1"), 403, "REVOKE: wants revocation level 1 or more, got 0"},
		{kdstest.Spec(t, strings.Replace(kdstest.AppPolicy, "SEC:INSECURE", "", 1)), 403, "SEC: wants security level STALE or SECURE, got INSECURE"},
		{cluster, 403, "development master key only"},
	} {
		_, err := c.Private(ctx, q.spec, kds.Storage)
		wants(t, q.text, err, kds.ErrRefused, q.text)
		var r *kds.RefusedError
		if !errors.As(err, &r) || r.Status != q.status || r.Temporary() {
			t.Errorf("%s: %v", q.text, err)
		}
	}
}

// What is missing or wrong on the asker's side is said before anything is sent.
func TestNothingIsSent(t *testing.T) {
	h := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }))
	defer h.Close()
	whole := func() *kds.Client {
		return &kds.Client{URL: h.URL, Platform: kdstest.Sim(t, kdstest.AppBuild), Verifier: kdstest.Verifier(), Constraint: kdstest.Policy(t, kdstest.AppPolicy)}
	}
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	for _, c := range []struct {
		what   string
		change func(*kds.Client, *kds.Spec, *kds.Purpose)
		target error
		text   string
	}{
		{"no constraint", func(c *kds.Client, _ *kds.Spec, _ *kds.Purpose) { c.Constraint = policy.Constraint{} }, kds.ErrClient, "kdsEnclaveConstraint"},
		{"no verifier", func(c *kds.Client, _ *kds.Spec, _ *kds.Purpose) { c.Verifier = nil }, kds.ErrClient, "verifier"},
		{"no scheme", func(c *kds.Client, _ *kds.Spec, _ *kds.Purpose) { c.URL = "localhost:1234" }, kds.ErrURL, "http:// or https://"},
		{"other scheme", func(c *kds.Client, _ *kds.Spec, _ *kds.Purpose) { c.URL = "ftp://localhost" }, kds.ErrURL, "http:// or https://"},
		{"no host", func(c *kds.Client, _ *kds.Spec, _ *kds.Purpose) { c.URL = "http:///x" }, kds.ErrURL, "no host"},
		{"no URL", func(c *kds.Client, _ *kds.Spec, _ *kds.Purpose) { c.URL = "http://a b" }, kds.ErrURL, ""},
		{"no name", func(_ *kds.Client, s *kds.Spec, _ *kds.Purpose) { s.Name = "" }, kds.ErrSpec, "1 to 255"},
		{"long name", func(_ *kds.Client, s *kds.Spec, _ *kds.Purpose) { s.Name = strings.Repeat("a", 256) }, kds.ErrSpec, "1 to 255"},
		{"name with newline", func(_ *kds.Client, s *kds.Spec, _ *kds.Purpose) { s.Name = "a\nb" }, kds.ErrSpec, "does not print"},
		{"unknown type", func(_ *kds.Client, s *kds.Spec, _ *kds.Purpose) { s.MasterKeyType = "debug" }, kds.ErrSpec, `unknown master key type "debug"`},
		{"no policy", func(_ *kds.Client, s *kds.Spec, _ *kds.Purpose) { s.PolicyConstraint = policy.Constraint{} }, kds.ErrSpec, "no constraint"},
		{"unknown purpose", func(_ *kds.Client, _ *kds.Spec, p *kds.Purpose) { *p = "all" }, kds.ErrSpec, `unknown purpose "all"`},
		{"no quote", func(c *kds.Client, _ *kds.Spec, _ *kds.Purpose) { c.Platform = mute{} }, kds.ErrPlatform, "not in an enclave"},
	} {
		cl, s, p := whole(), spec, kds.Storage
		c.change(cl, &s, &p)
		_, err := cl.Private(ctx, s, p)
		wants(t, c.what, err, c.target, c.text)
	}
}

// mute is a platform that makes no evidence.
type mute struct{ kdstest.Fake }

func (mute) Quote(attest.ReportData) (attest.Evidence, error) {
	return attest.Evidence{}, attest.ErrNoEnclave
}

// answers serves one fixed answer.
func answers(t *testing.T, h http.HandlerFunc) *kds.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &kds.Client{URL: s.URL, Tries: 1, Platform: kdstest.Sim(t, kdstest.AppBuild), Verifier: kdstest.Verifier(), Constraint: kdstest.Policy(t, kdstest.AppPolicy)}
}

func TestTransport(t *testing.T) {
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	hang := make(chan struct{})
	defer close(hang)

	slow := answers(t, func(_ http.ResponseWriter, r *http.Request) { <-hang })
	slow.Timeout = 50 * time.Millisecond
	_, err := slow.Private(ctx, spec, kds.Storage)
	wants(t, "slow", err, kds.ErrTimeout, "waited 50ms")

	dripping := answers(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"spec":`))
		_ = http.NewResponseController(w).Flush()
		<-hang
	})
	dripping.Timeout = 50 * time.Millisecond
	_, err = dripping.Private(ctx, spec, kds.Storage)
	wants(t, "slow body", err, kds.ErrTimeout, "waited 50ms")

	gone := answers(t, nil)
	gone.URL = closedAddress(t)
	_, err = gone.Private(ctx, spec, kds.Storage)
	wants(t, "nobody", err, kds.ErrUnreachable, "refused")

	cut := answers(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("{"))
	})
	_, err = cut.Private(ctx, spec, kds.Storage)
	wants(t, "cut off", err, kds.ErrUnreachable, "unexpected EOF")

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = slow.Private(cancelled, spec, kds.Storage)
	wants(t, "cancelled", err, context.Canceled, "")
}

// Answers that are none, too large, or for the eyes of a terminal.
func TestBadAnswers(t *testing.T) {
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	for _, c := range []struct {
		what   string
		status int
		body   string
		target error
		text   string
	}{
		{"empty", 200, ``, kds.ErrDamaged, "malformed"},
		{"not JSON", 200, `<html>`, kds.ErrDamaged, "malformed"},
		{"empty object", 200, `{}`, kds.ErrNotTrusted, "response key has 0 bytes"},
		{"reason with 200", 200, `{"reason":"x"}`, kds.ErrDamaged, "unknown field"},
		{"too large", 200, `{"purpose":"` + strings.Repeat("a", kds.MaxAnswerBytes) + `"}`, kds.ErrDamaged, "larger than 131072"},
		{"deep", 200, strings.Repeat(`{"spec":`, 10_000), kds.ErrDamaged, "nested"},
		{"refusal", 403, `{"reason":"because"}`, kds.ErrRefused, "status 403: because"},
		{"busy", 429, `{"reason":"later"}`, kds.ErrRefused, "status 429: later"},
		{"no reason", 500, `oops`, kds.ErrRefused, "no reason is given: Internal Server Error"},
		{"redirect", 302, ``, kds.ErrRefused, "status 302"},
		{"terminal", 403, `{"reason":"a\u001b[31mb\nc"}`, kds.ErrRefused, "a [31mb c"},
		{"endless reason", 403, `{"reason":"` + strings.Repeat("é", 60_000) + `"}`, kds.ErrRefused, "éé"},
	} {
		cl := answers(t, func(w http.ResponseWriter, r *http.Request) {
			if c.status == 302 {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		})
		_, err := cl.Private(ctx, spec, kds.Storage)
		wants(t, c.what, err, c.target, c.text)
		if err != nil && len(err.Error()) > kds.MaxReasonBytes+200 {
			t.Errorf("%s: an error of %d bytes", c.what, len(err.Error()))
		}
		var r *kds.RefusedError
		if errors.As(err, &r) && r.Temporary() != (c.status == 429) {
			t.Errorf("%s: temporary is %v", c.what, r.Temporary())
		}
	}
}

// Neither the log nor an error shows a byte of a key.
func TestLog(t *testing.T) {
	var out bytes.Buffer
	k := kdstest.New(t, kdstest.Options{})
	c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")
	c.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	private(t, c, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage)
	if !strings.Contains(out.String(), "path=private status=200") {
		t.Error(out.String())
	}
}

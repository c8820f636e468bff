package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/orders"
	"github.com/coffer-fs/coffer/kds/server"
)

func refusedWith(t *testing.T, err error, status int, text string) {
	t.Helper()
	var r *kds.RefusedError
	if !errors.As(err, &r) || r.Status != status || !strings.Contains(r.Reason, text) {
		t.Errorf("%v, want %d with %q", err, status, text)
	}
}

// One enclave that asks too often gets 429; others are served.
func TestIdentityRate(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{Change: func(o *server.Options) { o.IdentityRate = 1 }})
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")
	var last error
	for range 20 { // far more than one a second
		_, last = c.Private(ctx, spec, kds.Storage)
	}
	refusedWith(t, last, 429, "more than 1 keys a second for enclave")
	other := kdstest.AppBuild
	other.CodeHash = kdstest.Hash("C")
	if _, err := k.Client(t, kdstest.Sim(t, other), "").Private(ctx, spec, kds.Storage); err != nil {
		t.Errorf("another enclave: %v", err)
	}
}

func TestRate(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{Change: func(o *server.Options) { o.Rate = 1 }})
	status := 0
	for range 20 {
		status, _ = k.Post(t, "/public", []byte("{}"))
	}
	if status != 429 {
		t.Errorf("status %d", status)
	}
}

// The operator denies code, signer or key, to whoever meets the policy; the log
// says so. Nobody else can order anything.
func TestOrders(t *testing.T) {
	me, err := orders.OperatorKey(filepath.Join(t.TempDir(), "operator"))
	if err != nil {
		t.Fatal(err)
	}
	keeper, err := orders.Open(ctx, orders.File(filepath.Join(t.TempDir(), "orders")), []ed25519.PublicKey{me.Public().(ed25519.PublicKey)})
	if err != nil {
		t.Fatal(err)
	}
	k := kdstest.New(t, kdstest.Options{Change: func(o *server.Options) { o.Orders = keeper }})
	c, spec := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), ""), kdstest.Spec(t, kdstest.AppPolicy)
	order := func(o orders.Orders, want int) {
		t.Helper()
		b, err := orders.Sign(o, me)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := k.Post(t, "/orders", b); status != want {
			t.Errorf("orders %d: %d %s", o.Number, status, body)
		}
	}
	order(orders.Orders{Number: 1, DenyCode: []attest.Hash{kdstest.AppBuild.CodeHash}}, 200)
	_, err = c.Private(ctx, spec, kds.Storage)
	refusedWith(t, err, 403, "denied by the operator: code hash")
	if status, _ := k.Post(t, "/orders", []byte(`{"orders":{"number":2},"operator":"","signature":""}`)); status != 403 {
		t.Errorf("unsigned orders: %d", status)
	}
	order(orders.Orders{Number: 1}, 403)
	order(orders.Orders{Number: 2}, 200)
	if _, err := c.Private(ctx, spec, kds.Storage); err != nil {
		t.Error(err)
	}
	e := k.Entries(t)
	if e[1].Event != "ordered" || e[1].Orders != 1 || e[2].Event != "refused" || !strings.Contains(e[2].Reason, "denied by the operator") {
		t.Errorf("%+v", e)
	}
	if status, _ := kdstest.New(t, kdstest.Options{}).Post(t, "/orders", nil); status != 404 {
		t.Errorf("a node without operator: %d", status)
	}
}

// The metrics count what happened; neither they nor the log have a byte of key.
func TestMetrics(t *testing.T) {
	var log bytes.Buffer
	k := kdstest.New(t, kdstest.Options{Change: func(o *server.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}})
	c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")
	released, err := c.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy+" REVOKE:1"), kds.Storage)
	_, _ = k.Post(t, "/no/such/path", nil)
	monitor := httptest.NewServer(k.Node.Monitor())
	defer monitor.Close()
	a, err := monitor.Client().Get(monitor.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"coffer_kds_released_total 1\n", "coffer_kds_refused_total 1\n", "coffer_kds_audit_up 1\n",
		`coffer_kds_requests_total{path="/private",status="200"} 1`, `coffer_kds_requests_total{path="/private",status="403"} 1`,
		`coffer_kds_requests_total{path="other",status="404"} 1`, `coffer_kds_request_seconds_count{path="/private"} 2`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
	for name, text := range map[string]string{"metrics": string(b), "log": log.String()} {
		if kdstest.Shows(text, released.Bytes()) {
			t.Errorf("the %s shows a part of the key", name)
		}
	}
	if !kdstest.Shows("x"+string(released.Bytes()[4:16]), released.Bytes()) {
		t.Error("a part of the key is not found where it is")
	}
	probe, err := monitor.Client().Get(monitor.URL + "/readyz")
	if err != nil || probe.StatusCode != 200 {
		t.Errorf("%v, %v", probe, err)
	}
}

// Requests that are not of the protocol, and wait for something, take nothing that
// keys need.
func TestOthersTakeNoProcessors(t *testing.T) {
	const most = 32
	leave, entered := make(chan struct{}), make(chan struct{}, most)
	k := kdstest.New(t, kdstest.Options{Change: func(o *server.Options) {
		o.MaxRequests = most
		o.Routes = map[string]server.Route{"/waits": {Method: http.MethodPost, Serve: func(context.Context, []byte) (any, error) {
			entered <- struct{}{}
			<-leave
			return struct{}{}, nil
		}}}
	}})
	post := func() int {
		r, err := http.NewRequest(http.MethodPost, k.URL+"/waits", strings.NewReader("{}"))
		if err != nil {
			t.Error(err)
			return 0
		}
		r.Header.Set(kds.VersionHeader, kds.Version)
		a, err := k.HTTP.Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = a.Body.Close()
		return a.StatusCode
	}
	status := make(chan int, most)
	for range most {
		go func() { status <- post() }()
	}
	refused := 0
	for range most - most/8 {
		if s := <-status; s == http.StatusTooManyRequests {
			refused++
		}
	}
	if _, err := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "").Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage); err != nil {
		t.Errorf("no key while others wait: %v", err)
	}
	close(leave)
	for range most / 8 {
		if s := <-status; s != http.StatusOK {
			t.Errorf("status %d", s)
		}
	}
	if refused != most-most/8 || len(entered) != most/8 {
		t.Errorf("%d refused, %d served", refused, len(entered))
	}
}

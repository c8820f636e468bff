package peer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/cluster/peer"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/key"
)

var ctx = context.Background()

func party(t *testing.T, cluster string) *peer.Party {
	t.Helper()
	p := &peer.Party{Cluster: cluster, Platform: kdstest.Release(kdstest.NodeBuild, attest.Stale), Verifier: kdstest.Verifier(), Peers: nodeconfig.Peers{Level: attest.Stale}}
	if err := p.Init(); err != nil {
		t.Fatal(err)
	}
	return p
}

// serve runs a node that gives one key, and returns its address.
func serve(t *testing.T, p *peer.Party, k key.Key) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	h := peer.Handlers{Give: func(_ context.Context, _ attest.Identity, refused error) (peer.Keys, error) {
		return peer.Keys{1: k}, refused
	}}
	go func() { defer close(done); _ = p.Serve(running, l, h, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() { stop(); <-done })
	return l.Addr().String()
}

func TestFetch(t *testing.T) {
	k := key.New()
	got, id, err := party(t, "test").Fetch(ctx, serve(t, party(t, "test"), k))
	if err != nil || !got[1].Equal(k) || id.CodeHash != kdstest.NodeBuild.CodeHash {
		t.Errorf("%v, %v", id, err)
	}
}

// K32: who sits between two nodes has two connections, and evidence fits one.
func TestK32_BetweenNodes(t *testing.T) {
	k := key.New()
	behind := serve(t, party(t, "test"), k)
	relayed := make(chan string, 1)
	// The relay has a certificate of its own on both sides, and passes on every
	// byte of the bodies.
	relay := relay(t, func(body []byte) (int, []byte) {
		c, err := tls.Dial("tcp", behind, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{peer.Certificate(party(t, "test"))}}) //nolint:gosec // it is the attacker
		if err != nil {
			t.Error(err)
			return 500, nil
		}
		defer c.Close()
		r, _ := http.NewRequest(http.MethodPost, "https://x/master-key", bytes.NewReader(body))
		r.Close = true
		h := http.Client{Transport: &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}}
		a, err := h.Do(r)
		if err != nil {
			t.Error(err)
			return 500, nil
		}
		defer a.Body.Close()
		b, _ := io.ReadAll(a.Body)
		relayed <- string(b)
		return a.StatusCode, b
	})
	if _, _, err := party(t, "test").Fetch(ctx, relay); err == nil || !strings.Contains(err.Error(), "it is not for this connection") {
		t.Errorf("through a relay: %v", err)
	}
	if got := <-relayed; strings.Contains(got, "keys") {
		t.Error("a master key went through the relay")
	}
	// evidence of the other role, or of another cluster, fits neither
	echo := relayEcho(t)
	if _, _, err := party(t, "test").Fetch(ctx, echo); err == nil || !strings.Contains(err.Error(), "it is not for this connection") {
		t.Errorf("evidence that was sent back: %v", err)
	}
	if _, _, err := party(t, "other").Fetch(ctx, behind); err == nil || !strings.Contains(err.Error(), "it is not for this connection") {
		t.Errorf("a node of another cluster: %v", err)
	}
}

// relayEcho answers with the evidence that it is shown.
func relayEcho(t *testing.T) string {
	return relay(t, func(body []byte) (int, []byte) {
		var q map[string]any
		_ = json.Unmarshal(body, &q)
		q["keys"] = []map[string]any{{"generation": 1, "key": make([]byte, 32)}}
		b, _ := json.Marshal(q)
		return 200, b
	})
}

func relay(t *testing.T, f func(body []byte) (int, []byte)) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{peer.Certificate(party(t, "test"))}, ClientAuth: tls.RequireAnyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		status, answer := f(b)
		w.WriteHeader(status)
		_, _ = w.Write(answer)
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

// The pitfalls of TLS: older versions, no certificate, tickets.
func TestTLS(t *testing.T) {
	addr := serve(t, party(t, "test"), key.New())
	cert := []tls.Certificate{peer.Certificate(party(t, "test"))}
	cache := tls.NewLRUClientSessionCache(4)
	try := func(c *tls.Config) (tls.ConnectionState, error) {
		c.InsecureSkipVerify, c.ServerName = true, "x"
		d := tls.Dialer{Config: c}
		got, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer got.Close()
		conn := got.(*tls.Conn)
		if _, err := conn.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
			return tls.ConnectionState{}, err
		}
		_, err = io.ReadAll(conn)
		return conn.ConnectionState(), err
	}
	if _, err := try(&tls.Config{MaxVersion: tls.VersionTLS12, Certificates: cert}); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
	if _, err := try(&tls.Config{}); err == nil {
		t.Error("who shows no certificate is let in")
	}
	for range 2 {
		s, err := try(&tls.Config{Certificates: cert, ClientSessionCache: cache})
		if err != nil || s.DidResume {
			t.Errorf("resumed %v, %v", s.DidResume, err)
		}
	}
	if s, ok := cache.Get("x"); ok || s != nil {
		t.Error("a ticket was given")
	}
}

// What comes from a peer is bounded and decoded strictly.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"evidence":{"format":"sim","data":"AA=="},"keys":[{"generation":1,"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}`))
	f.Add([]byte(`{"evidence":{"format":"sim","data":"AA=="},"keys":[{"generation":1,"key":"AA=="},{"generation":1,"key":""}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := peer.DecodeAnswer(b)
		if err != nil && keys != nil {
			t.Error("keys with an error")
		}
		for _, k := range keys {
			if k.IsZero() {
				t.Error("a key that is none")
			}
		}
	})
}

// Whoever may not be a node has no refusals written down without end.
func TestRefusalsAreBounded(t *testing.T) {
	p := party(t, "test")
	written := 0
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	h := peer.Handlers{Give: func(_ context.Context, _ attest.Identity, refused error) (peer.Keys, error) {
		written++ // requests come one after another
		return peer.Keys{1: key.New()}, refused
	}}
	go func() { defer close(done); _ = p.Serve(running, l, h, slog.New(slog.DiscardHandler)) }()
	stranger := party(t, "test")
	stranger.Platform = kdstest.Release(kdstest.AppBuild, attest.Stale)
	limited := false
	for i := 0; i < 5000 && !limited; i++ {
		_, _, err := stranger.Fetch(ctx, l.Addr().String())
		limited = err != nil && strings.Contains(err.Error(), "429") && strings.Contains(err.Error(), "by enclave")
	}
	if _, _, err := party(t, "test").Fetch(ctx, l.Addr().String()); err != nil {
		t.Errorf("a node, beside a stranger who asks too often: %v", err)
	}
	stop()
	<-done
	if !limited || written == 0 {
		t.Errorf("%d refusals written down, and none kept off", written)
	}
}

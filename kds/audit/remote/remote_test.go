package remote_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/audit/bolt"
	"github.com/coffer-fs/coffer/kds/audit/remote"
)

var (
	ctx    = context.Background()
	signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	silent = slog.New(slog.DiscardHandler)
)

func keeper(t *testing.T) (*bolt.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.db")
	s, err := bolt.Open(path, bolt.Options{})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s, path
}

func dial(t *testing.T, address, token string) *remote.Store {
	t.Helper()
	s, err := remote.Dial(address, token)
	must(t, err)
	return s
}

func lines(t *testing.T, path string) uint64 {
	t.Helper()
	var text bytes.Buffer
	must(t, bolt.Batches(ctx, path, 1, &text))
	s, err := audit.Verify(&text, audit.VerifyOptions{}, nil)
	must(t, err)
	return s.Lines
}

func TestRemote(t *testing.T) {
	s, path := keeper(t)
	h := httptest.NewServer(remote.Handler(s, "open", silent))
	t.Cleanup(h.Close)
	l, err := audit.Open(ctx, dial(t, h.URL, "open"), signer, nil)
	must(t, err)
	must(t, l.Append(audit.Entry{Event: audit.Released}))
	if _, err := audit.Open(ctx, dial(t, h.URL, "other"), signer, nil); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("without the token: %v", err)
	}
	second, err := audit.Open(ctx, dial(t, h.URL, "open"), signer, nil)
	must(t, err)
	if err := l.Append(audit.Entry{Event: audit.Released}); !errors.Is(err, audit.ErrConflict) {
		t.Errorf("two nodes with one log: %v", err)
	}
	must(t, second.Append(audit.Entry{Event: audit.Released}))
	if n := lines(t, path); n != 4 {
		t.Errorf("%d lines", n)
	}
}

func TestUnixSocket(t *testing.T) {
	s, path := keeper(t)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	must(t, err)
	h := &http.Server{Handler: remote.Handler(s, "", silent)}
	go func() { _ = h.Serve(l) }()
	t.Cleanup(func() { _ = h.Close() })
	_, err = audit.Open(ctx, dial(t, "unix:"+l.Addr().String(), ""), signer, nil)
	must(t, err)
	if n := lines(t, path); n != 1 {
		t.Errorf("%d lines", n)
	}
}

// Whether the keeper did it or not before the connection was cut, a line is there
// once and acknowledged once.
func TestCut(t *testing.T) {
	s, path := keeper(t)
	var n atomic.Int64
	inner := remote.Handler(s, "", silent)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			inner.ServeHTTP(w, r)
			return
		}
		switch n.Add(1) % 3 {
		case 1: // before it is done
			panic(http.ErrAbortHandler)
		case 2: // after it is done
			inner.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	l, err := audit.Open(ctx, dial(t, h.URL, ""), signer, nil)
	must(t, err)
	for range 8 {
		must(t, l.Append(audit.Entry{Event: audit.Released}))
	}
	if got := lines(t, path); got != 9 {
		t.Errorf("%d lines of 9", got)
	}
}

// What a keeper says is bounded and verified.
func TestHostileKeeper(t *testing.T) {
	for name, answer := range map[string]string{"junk": "junk\n", "empty line": "\n", "endless": strings.Repeat("x", audit.MaxBatchBytes+1)} {
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) }))
		if _, err := audit.Open(ctx, dial(t, h.URL, ""), signer, nil); err == nil {
			t.Errorf("%s: the log opens", name)
		}
		h.Close()
	}
}

// What is asked of a keeper is bounded and checked.
func TestHostileNode(t *testing.T) {
	s, path := keeper(t)
	h := httptest.NewServer(remote.Handler(s, "", silent))
	t.Cleanup(h.Close)
	for target, body := range map[string]string{"/append": "x", "/append?first=1&lines=0": "x", "/append?first=1&lines=-1": "x", "/append?first=x&lines=1": "x",
		"/append?first=1&lines=1025": "x", "/append?first=2&lines=1": "x", "/append?first=1&lines=1": strings.Repeat("x", audit.MaxBatchBytes+1)} {
		a, err := http.Post(h.URL+target, "application/x-www-form-urlencoded", strings.NewReader(body))
		if err != nil {
			continue // it hung up
		}
		_ = a.Body.Close()
		if a.StatusCode < 400 {
			t.Errorf("%s: %d", target, a.StatusCode)
		}
	}
	if next, err := bolt.Next(ctx, path); err != nil || next != 1 {
		t.Errorf("next %d, %v", next, err)
	}
	for _, address := range []string{"", "unix:", "http://example.org:1", "http://127.0.0.1", "https://127.0.0.1:1", "http://127.0.0.1:1/x", "/run/audit"} {
		if _, err := remote.Dial(address, ""); !errors.Is(err, remote.ErrAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

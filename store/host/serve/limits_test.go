package serve_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
	"github.com/coffer-fs/coffer/store/host/serve"
)

// raw sends bytes as they are, and returns the status of the answer.
func raw(t *testing.T, socket, request string) (int, string) {
	t.Helper()
	c, err := net.Dial("unix", socket)
	must(t, err)
	defer c.Close()
	_, _ = io.WriteString(c, request)
	if u, ok := c.(*net.UnixConn); ok {
		must(t, u.CloseWrite())
	}
	b, _ := io.ReadAll(io.LimitReader(c, 1<<20))
	var status int
	_, _ = fmt.Sscanf(string(b), "HTTP/1.1 %d", &status)
	return status, string(b)
}

// Names lead nowhere but to a directory in the root.
func TestStrangeNames(t *testing.T) {
	d := newDir(t)
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(d.Root, "file"), nil, 0o600))
	must(t, os.Symlink(outside, filepath.Join(d.Root, "link")))
	socket := start(t, d, serve.Options{})
	for _, name := range []string{
		"..", ".", "%2e%2e", "..%2f..%2fetc", "a%2fb", "a/b", "%00", "a%00b", ".hidden", "-", "A", "%c3%a4", "link", "file", "", "%20",
		strings.Repeat("a", 65),
	} {
		for _, method := range []string{"GET", "PUT"} {
			status, answer := raw(t, socket, method+" /v1/volumes/"+name+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
			if status/100 == 2 {
				t.Errorf("%s %q: %s", method, name, answer)
			}
		}
	}
	es, err := os.ReadDir(outside)
	must(t, err)
	if len(es) > 0 {
		t.Errorf("%v outside", es)
	}
	if es, err = os.ReadDir(d.Root); err != nil || len(es) != 2 {
		t.Errorf("%v in the root, %v", es, err)
	}
}

func TestQuota(t *testing.T) {
	d := newDir(t)
	d.MaxVolumes = 1
	url := "unix:" + start(t, d, serve.Options{Quota: 2 << 20}) + "#v"
	must(t, remote.Create(ctx, url, remote.Options{}))
	if err := remote.Create(ctx, url[:len(url)-1]+"w", remote.Options{}); !errors.Is(err, host.ErrNoSpace) {
		t.Errorf("a volume too many: %v", err)
	}
	v, err := remote.Open(ctx, url, remote.Options{})
	must(t, err)
	defer v.Close()
	w := acquire(t, v, host.AcquireOptions{})
	must(t, w.Create(ctx, 1, 1<<20))
	if err := w.Create(ctx, 2, 1<<20+1); !errors.Is(err, host.ErrNoSpace) {
		t.Errorf("more than the quota: %v", err)
	}
	must(t, w.Create(ctx, 2, 1<<20))
	if err := w.Create(ctx, 3, 1); !errors.Is(err, host.ErrNoSpace) {
		t.Errorf("a byte more than the quota: %v", err)
	}
	must(t, w.Delete(ctx, 1))
	must(t, w.Create(ctx, 3, 1<<20))
	must(t, w.Release(ctx))
	w = acquire(t, v, host.AcquireOptions{}) // it is counted anew
	if err := w.Create(ctx, 4, 1); !errors.Is(err, host.ErrNoSpace) {
		t.Errorf("a byte more than the quota, later: %v", err)
	}
}

// A body that is too long, or does not come whole, has no effect.
func TestBodies(t *testing.T) {
	h := memhost.New(memhost.Options{})
	socket := start(t, one{h}, serve.Options{})
	token := strings.Repeat("ab", wire.TokenSize)
	send := func(method, path, headers, body string) int {
		status, _ := raw(t, socket, method+" /v1/volumes/v"+path+" HTTP/1.1\r\nHost: x\r\nCoffer-Lease: "+token+"\r\n"+headers+"\r\n"+body)
		return status
	}
	keep, err := net.Dial("unix", socket) // the lease lasts with this connection
	must(t, err)
	defer keep.Close()
	_, err = fmt.Fprintf(keep, "PUT /v1/volumes/v/lease HTTP/1.1\r\nHost: x\r\nCoffer-Lease: %s\r\nContent-Length: 2\r\n\r\n{}", token)
	must(t, err)
	answer := make([]byte, 12)
	if _, err := io.ReadFull(keep, answer); err != nil || string(answer) != "HTTP/1.1 204" {
		t.Fatalf("%q, %v", answer, err)
	}
	if got := send("PUT", "/segments/1?capacity=1048576", "Content-Length: 0\r\n", ""); got != 204 {
		t.Fatalf("create: %d", got)
	}
	calls := h.Calls()
	for name, test := range map[string]struct {
		method, path, headers, body string
	}{
		"cut off":            {"POST", "/segments/1?offset=0", "Content-Length: 10\r\n", "hello"},
		"no length":          {"POST", "/segments/1?offset=0", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"},
		"too long":           {"POST", "/segments/1?offset=0", "Content-Length: 67108865\r\n", "hello"},
		"huge":               {"POST", "/segments/1?offset=0", "Content-Length: 9223372036854775807\r\n", "hello"},
		"no offset":          {"POST", "/segments/1", "Content-Length: 5\r\n", "hello"},
		"negative offset":    {"POST", "/segments/1?offset=-1", "Content-Length: 5\r\n", "hello"},
		"a strange segment":  {"POST", "/segments/01?offset=0", "Content-Length: 5\r\n", "hello"},
		"a large record":     {"PUT", "/records/root", "If-None-Match: *\r\nContent-Length: 65537\r\n", "hello"},
		"no version":         {"PUT", "/records/root", "Content-Length: 5\r\n", "hello"},
		"two versions":       {"PUT", "/records/root", "If-None-Match: *\r\nIf-Match: \"1\"\r\nContent-Length: 5\r\n", "hello"},
		"half a number":      {"POST", "/sync", "Content-Length: 7\r\n", "1234567"},
		"too many to sync":   {"POST", "/sync", "Content-Length: 8200\r\n", strings.Repeat("x", 8200)},
		"a long header":      {"POST", "/segments/1?offset=0", "X: " + strings.Repeat("x", 20000) + "\r\nContent-Length: 5\r\n", "hello"},
		"syncs in a header":  {"POST", "/segments/1?offset=0", "Coffer-Sync: " + strings.Repeat("1,", 20) + "1\r\nContent-Length: 5\r\n", "hello"},
		"a huge capacity":    {"PUT", "/segments/2?capacity=67108865", "Content-Length: 0\r\n", ""},
		"adopt by the fresh": {"PUT", "/segments/1?capacity=1048576&tail=0", "Content-Length: 0\r\n", ""},
		"another method":     {"PATCH", "/segments/1?offset=0", "Content-Length: 5\r\n", "hello"},
		"another path":       {"POST", "/segments/1/x?offset=0", "Content-Length: 5\r\n", "hello"},
	} {
		if got := send(test.method, test.path, test.headers, test.body); got/100 != 4 {
			t.Errorf("%s: status %d", name, got)
		}
	}
	if n := h.Calls(); n != calls {
		t.Errorf("%d calls reached the volume", n-calls)
	}
	// Ranges are one, with both ends, and no longer than a segment.
	for _, r := range []string{"", "bytes=0-", "bytes=-5", "bytes=5-4", "bytes=0-67108864", "bytes=0-1,3-4", "bytes=0-9223372036854775807", "lines=0-1"} {
		if got := send("GET", "/segments/1", "Range: "+r+"\r\n", ""); got != 400 {
			t.Errorf("range %q: status %d", r, got)
		}
	}
	token = "xy"
	if got := send("GET", "/lease", "", ""); got != 400 {
		t.Errorf("a token that is none: status %d", got)
	}
	token = hex.EncodeToString(make([]byte, wire.TokenSize))
	if got := send("GET", "/lease", "", ""); got != 403 {
		t.Errorf("a token of nobody: status %d", got)
	}
}

// Clients that send nothing, or slowly, keep nobody else out.
func TestSlowClient(t *testing.T) {
	url := "unix:" + start(t, one{memhost.New(memhost.Options{})}, serve.Options{}) + "#v"
	socket := strings.TrimSuffix(strings.TrimPrefix(url, "unix:"), "#v")
	token := strings.Repeat("cd", wire.TokenSize)
	for i := range 20 {
		c, err := net.Dial("unix", socket)
		must(t, err)
		defer c.Close()
		if i%2 == 0 { // a large body of which a byte comes
			_, err = fmt.Fprintf(c, "POST /v1/volumes/v/segments/1?offset=0 HTTP/1.1\r\nHost: x\r\nCoffer-Lease: %s\r\nContent-Length: 5000000\r\n\r\nx", token)
			must(t, err)
		}
	}
	v, err := remote.Open(ctx, url, remote.Options{})
	must(t, err)
	defer v.Close()
	w := acquire(t, v, host.AcquireOptions{})
	must(t, w.Create(ctx, 1, 1<<20))
	must(t, w.Append(ctx, 1, 0, make([]byte, 1<<20)))
}

// With a token, who does not show it gets nothing; with TLS, who does not show
// the certificate is not believed.
func TestTokenAndTLS(t *testing.T) {
	cert, roots := certificate(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	d := newDir(t)
	serveOn(t, serve.TLS(l, cert), d, serve.Options{Token: []byte("correct horse")})
	url := "https://" + l.Addr().String() + "/v"
	o := remote.Options{Token: []byte("correct horse"), TLS: &tls.Config{RootCAs: roots}}
	must(t, remote.Create(ctx, url, o))
	v, err := remote.Open(ctx, url, o)
	must(t, err)
	w := acquire(t, v, host.AcquireOptions{})
	k := newWork(w)
	r := newRand(t)
	for range 50 {
		must(t, k.step(r))
	}
	k.check(t, v)
	must(t, w.Release(ctx))
	must(t, v.Close())
	for _, token := range []string{"", "correct hors", "correct horses"} {
		o.Token = []byte(token)
		if _, err := remote.Open(ctx, url, o); !errors.Is(err, remote.ErrUnauthorized) {
			t.Errorf("token %q: %v", token, err)
		}
	}
	o.TLS = nil
	if _, err := remote.Open(ctx, url, o); !errors.Is(err, remote.ErrUnreachable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	must(t, err)
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// A server that ends gives the volumes back, and the next one goes on.
func TestShutdown(t *testing.T) {
	d := newDir(t)
	socket := filepath.Join(shortDir(t), "s")
	begin := func() (*serve.Server, chan error) {
		l, err := net.Listen("unix", socket)
		must(t, err)
		s, ended := serve.New(d, serve.Options{}), make(chan error, 1)
		go func() { ended <- s.Serve(l) }()
		return s, ended
	}
	s, ended := begin()
	url := "unix:" + socket + "#v"
	must(t, remote.Create(ctx, url, remote.Options{}))
	v, err := remote.Open(ctx, url, remote.Options{})
	must(t, err)
	defer v.Close()
	w := acquire(t, v, host.AcquireOptions{})
	must(t, w.Create(ctx, 1, 1<<20))
	must(t, w.Append(ctx, 1, 0, []byte("one")))
	must(t, s.Shutdown(context.WithoutCancel(ctx)))
	must(t, <-ended)
	direct, err := d.Open("v")
	must(t, err)
	defer direct.Close()
	s, ended = begin()
	must(t, w.Append(ctx, 1, 3, []byte("two")))
	must(t, w.Sync(ctx, 1))
	p := make([]byte, 6)
	if _, err := direct.Read(ctx, 1, 0, p); err != nil || string(p) != "onetwo" {
		t.Errorf("%q, %v", p, err)
	}
	if _, err := direct.Acquire(ctx, host.AcquireOptions{}); !errors.Is(err, host.ErrInUse) {
		t.Errorf("acquire after a server ended and another one began: %v", err)
	}
	must(t, w.Release(ctx))
	must(t, s.Shutdown(context.WithoutCancel(ctx)))
	must(t, <-ended)
}

var _ http.Handler = (*serve.Server)(nil)

package s3_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	urlpkg "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// gateway is a real S3 server in a process of its own, behind a proxy that may
// spoil what passes.
type gateway struct {
	t      testing.TB
	binary string
	dir    string
	proxy  *proxy
	server *exec.Cmd
}

// gatewayPath is where make puts the server: see the Makefile.
func gatewayPath() (string, error) {
	if path := os.Getenv("VERSITYGW"); path != "" {
		_, err := os.Stat(path)
		return path, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "coffer", "versitygw-v1.8.0", "versitygw")
	_, err = os.Stat(path)
	return path, err
}

// newGateway starts a server that ends with the test.
func newGateway(t testing.TB) *gateway {
	t.Helper()
	binary, err := gatewayPath()
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("there is no S3 server to test with: make versitygw builds one")
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "gw") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "root", "bucket"), 0o700); err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, binary: binary, dir: dir, proxy: newProxy(t, filepath.Join(dir, "s"))}
	t.Cleanup(func() {
		g.kill()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	g.start()
	return g
}

// start starts the server and waits until it answers.
func (g *gateway) start() {
	g.t.Helper()
	socket := filepath.Join(g.dir, "s")
	_ = os.Remove(socket)
	g.server = exec.Command(g.binary, "--quiet", "--port", socket, "posix", filepath.Join(g.dir, "root"))
	g.server.Env = append(os.Environ(), "ROOT_ACCESS_KEY=test", "ROOT_SECRET_KEY=testtest")
	g.server.Stderr = os.Stderr
	if err := g.server.Start(); err != nil {
		g.t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			g.t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// kill ends the server at once.
func (g *gateway) kill() {
	_ = g.server.Process.Kill()
	_ = g.server.Wait()
}

// spoil says what a proxy does to a request.
type spoil int

const (
	pass    spoil = iota
	refuse        // 503, without asking the server
	lie412        // 412, without asking the server
	lose          // the answer is lost: the server did what was asked
	fail500       // 500, after the server did what was asked
	cut           // the connection breaks in the middle of the body
	slow          // it takes a while
)

// proxy passes requests on, unless rule says otherwise.
type proxy struct {
	url     string
	forward *httputil.ReverseProxy

	mu   sync.Mutex
	rule func(*http.Request) spoil
	seen map[string]int // requests by method
}

func newProxy(t testing.TB, socket string) *proxy {
	p := &proxy{seen: make(map[string]int)}
	p.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&urlpkg.URL{Scheme: "http", Host: "gateway"})
			r.Out.Host = r.In.Host // it is signed
		},
		Transport: &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

// spoil has f say what becomes of each request; nil ends that.
func (p *proxy) spoil(f func(*http.Request) spoil) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = f
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.seen[r.Method]++
	what := pass
	if p.rule != nil {
		what = p.rule(r)
	}
	p.mu.Unlock()
	switch what {
	case refuse:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case lie412:
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	case lose, fail500:
		p.forward.ServeHTTP(httptest.NewRecorder(), r)
		if what == lose {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusInternalServerError)
		return
	case cut:
		r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, r.ContentLength/2), broken{}))
		p.forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case slow:
		select {
		case <-time.After(30 * time.Millisecond):
		case <-r.Context().Done():
		}
	}
	p.forward.ServeHTTP(w, r)
}

// broken is the rest of a body that does not come.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("cut by the test") }

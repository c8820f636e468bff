package s3test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	urlpkg "net/url"
	"sync"
	"testing"
	"time"
)

// Spoil says what becomes of a request to a Gateway.
type Spoil int

// What may become of it.
const (
	Pass        Spoil = iota
	Unavailable       // 503, without asking the server
	Lie412            // 412, without asking the server
	Lose              // the answer is lost: the server did what was asked
	Fail500           // 500, after the server did what was asked
	CutBody           // the connection breaks in the middle of the body
	Slow              // it takes a while
)

// proxy passes requests on, unless rule says otherwise.
type proxy struct {
	url     string
	forward *httputil.ReverseProxy

	mu   sync.Mutex
	rule func(*http.Request) Spoil
}

func newProxy(t testing.TB, socket string) *proxy {
	p := &proxy{}
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
func (p *proxy) spoil(f func(*http.Request) Spoil) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = f
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	what := Pass
	if p.rule != nil {
		what = p.rule(r)
	}
	p.mu.Unlock()
	switch what {
	case Unavailable:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case Lie412:
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	case Lose, Fail500:
		p.forward.ServeHTTP(httptest.NewRecorder(), r)
		if what == Lose {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusInternalServerError)
		return
	case CutBody:
		r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, r.ContentLength/2), broken{}))
		p.forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case Slow:
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

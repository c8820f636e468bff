package s3_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
)

// tlsServer is a store, or what is in front of one, that speaks TLS.
func tlsServer(t *testing.T, h http.Handler) (s *httptest.Server, roots *x509.CertPool) {
	s = httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s, roots
}

// A real server behind TLS is reached by who trusts its certificate. Nobody else
// sends it anything, nor waits for it.
func TestTLS(t *testing.T) {
	t.Parallel()
	g := s3test.NewGateway(t)
	s, roots := tlsServer(t, g)
	o := options(s.URL)
	o.RootCAs = roots
	create(t, url, o)
	_, w := acquire(t, o, false)
	all := mustFill(t, w, 1, 100, 600<<10)
	holds(t, w, 1, all)
	if err := w.Release(ctx); err != nil {
		t.Fatal(err)
	}
	o.RootCAs, o.Patience = nil, time.Hour // which nobody waits for
	if _, err := s3.Open(ctx, url, o); !errors.Is(err, s3.ErrCertificate) {
		t.Errorf("open with a certificate of nobody: %v", err)
	}
	o.RootCAs = roots
	o.Endpoint = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	if _, err := s3.Open(ctx, url, o); !errors.Is(err, s3.ErrCertificate) {
		t.Errorf("open with another one's certificate: %v", err)
	}
	for _, plain := range []string{"http://192.0.2.1:9000", "http://store.example.org"} {
		o.Endpoint = plain
		if _, err := s3.Open(ctx, url, o); !errors.Is(err, s3.ErrURL) {
			t.Errorf("%s without TLS: %v", plain, err)
		}
	}
}

// A store that takes what its conditions forbid is refused by whoever makes a volume
// there, and by whoever becomes the writer of one that was brought there.
func TestConditionsIgnored(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"If-None-Match", "If-Match"} {
		server, ignores := s3test.New(t), false
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ignores && r.Method == http.MethodPut {
				r.Header.Del(header)
			}
			server.ServeHTTP(w, r)
		}))
		defer s.Close()
		o := options(s.URL)
		create(t, url, o)
		ignores = true
		if err := s3.Create(ctx, url+"2", o); !errors.Is(err, s3.ErrConditions) {
			t.Errorf("without %s: create: %v", header, err)
		}
		v, err := s3.Open(ctx, url, o)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		if _, err := v.Acquire(ctx, host.AcquireOptions{}); !errors.Is(err, s3.ErrConditions) {
			t.Errorf("without %s: acquire: %v", header, err)
		}
	}
}

// The secret key, and what is signed with it, is in no error and no line of a log,
// whatever the store does.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	const secret = "S3cr3tS3cr3tS3cr3tS3cr3t"
	var logged bytes.Buffer
	for _, status := range []int{0, 400, 403, 404, 409, 500, 503} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		if status == 0 {
			s.Close()
		}
		o := options(s.URL)
		o.SecretKey, o.Patience, o.Logger = secret, 10*time.Millisecond, slog.New(slog.NewTextHandler(&logged, nil))
		_, err := s3.Open(ctx, url, o)
		if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "Signature") {
			t.Errorf("status %d: %v", status, err)
		}
		s.Close()
	}
	if strings.Contains(logged.String(), secret) {
		t.Errorf("logged: %s", logged.String())
	}
}

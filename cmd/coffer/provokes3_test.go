package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
)

// bucket starts an object store, which the commands of the script find by their
// environment. "bucket full" has it take nothing more until "bucket empty"; "bucket
// accept KEY" has it accept that access key alone.
func bucket(t *testing.T, ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case neg || len(args) > 1 && args[0] != "accept":
		ts.Fatalf("usage: bucket [full|empty|accept KEY]")
	case len(args) == 0:
		s := s3test.New(t)
		buckets.Store(ts.Getenv("WORK"), s)
		ts.Setenv("AWS_ENDPOINT_URL", s.URL)
		ts.Setenv("AWS_ACCESS_KEY_ID", "test")
		ts.Setenv("AWS_SECRET_ACCESS_KEY", "testtest")
		ts.Setenv("XDG_CACHE_HOME", ts.MkAbs(".cache"))
	case args[0] == "accept":
		s, _ := buckets.Load(ts.Getenv("WORK"))
		s.(*s3test.Server).Accept(args[1])
	default:
		s, _ := buckets.Load(ts.Getenv("WORK"))
		s.(*s3test.Server).Break(func(method, _ string) s3test.Fault {
			if args[0] == "full" && method == http.MethodPut {
				return s3test.Busy
			}
			return s3test.None
		})
	}
}

// buckets are the stores of scripts, by the directory of the script.
var buckets sync.Map

const s3URL = "s3://bucket/vol"

func s3Options(url string) s3.Options {
	return s3.Options{Endpoint: url, AccessKey: "test", SecretKey: "testtest", Patience: 50 * time.Millisecond}
}

// bucketOfNobody opens a volume in a store whose certificate is its own.
func bucketOfNobody(t *testing.T) error {
	s := httptest.NewTLSServer(s3test.Quiet(nil))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	_, err := s3.Open(ctx, s3URL, s3Options(s.URL))
	return err
}

// bucketForgets makes a volume where conditions are ignored.
func bucketForgets(t *testing.T) error {
	inner := s3test.New(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("If-None-Match")
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s3.Create(ctx, s3URL, s3Options(s.URL))
}

// withBucket makes a volume in a store.
func withBucket(t *testing.T) (*s3test.Server, s3.Options) {
	s := s3test.New(t)
	o := s3Options(s.URL)
	if err := s3.Create(ctx, s3URL, o); err != nil {
		t.Fatal(err)
	}
	return s, o
}

// spoilHead changes a byte of the head and opens the volume.
func spoilHead(t *testing.T, at int) error {
	s, o := withBucket(t)
	head := s.Get("vol/head")
	head[at]++
	s.Put("vol/head", head)
	_, err := s3.Open(ctx, s3URL, o)
	return err
}

func laterHead(t *testing.T) error { return spoilHead(t, 9) }
func wrongHead(t *testing.T) error { return spoilHead(t, 30) }

// bucketGone opens a volume in a store that is not there.
func bucketGone(t *testing.T) error {
	s, o := withBucket(t)
	s.Break(func(string, string) s3test.Fault { return s3test.Before })
	_, err := s3.Open(ctx, s3URL, o)
	return err
}

// bucketSilent swaps a record in a store that does not answer any more.
func bucketSilent(t *testing.T) error {
	s, o := withBucket(t)
	v, err := s3.Open(ctx, s3URL, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Release(ctx) })
	s.Break(func(string, string) s3test.Fault { return s3test.After })
	_, err = w.Swap(ctx, "root", "", nil)
	return err
}

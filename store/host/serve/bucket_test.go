package serve_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/hosttest"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
	"github.com/coffer-fs/coffer/store/host/serve"
)

func newBucket(t testing.TB, url string, o s3.Options) *serve.Bucket {
	t.Helper()
	o.Endpoint, o.AccessKey, o.SecretKey = url, "test", "testtest"
	o.Stale, o.Strict, o.Beat, o.Grace = -1, true, 50*time.Millisecond, time.Minute
	b := &serve.Bucket{URL: "s3://bucket/volumes", MayCreate: true, Options: o}
	t.Cleanup(func() { must(t, b.Close()) })
	return b
}

// A bucket behind a host process passes the suite as well.
func TestBucket(t *testing.T) {
	hosttest.Run(t, func(t *testing.T) hosttest.Opener {
		url := "unix:" + start(t, newBucket(t, s3test.New(t).URL, s3.Options{}), serve.Options{}) + "#v"
		must(t, remote.Create(ctx, url, remote.Options{}))
		return opener(url)
	})
}

// A host process that is gone, and another one on the same bucket: the client goes
// on, what was synced is there, and what was not comes again. It does with either
// durability.
func TestBucketResumes(t *testing.T) {
	for name, d := range map[string]s3.Durability{"remote": s3.Remote, "local": s3.Local} {
		t.Run(name, func(t *testing.T) {
			store := s3test.New(t)
			o := s3.Options{Durability: d, Dir: t.TempDir()}
			socket := filepath.Join(shortDir(t), "s")
			serveOnce := func() (kill func()) {
				l, err := net.Listen("unix", socket)
				must(t, err)
				s := serve.New(newBucket(t, store.URL, o), serve.Options{})
				ended := make(chan error, 1)
				go func() { ended <- s.Serve(l) }()
				return func() {
					must(t, s.Shutdown(ctx))
					must(t, <-ended)
					_ = os.Remove(socket)
				}
			}
			stop := serveOnce()
			url := "unix:" + socket + "#v"
			must(t, remote.Create(ctx, url, remote.Options{}))
			v, err := remote.Open(ctx, url, remote.Options{Patience: time.Minute})
			must(t, err)
			defer v.Close()
			w, err := v.Acquire(ctx, host.AcquireOptions{Owner: "the enclave"})
			must(t, err)
			must(t, w.Create(ctx, 1, 1<<20))
			var all []byte
			for round := range 4 {
				for i := range 3 {
					p := bytes.Repeat([]byte{byte(round), byte(i)}, 1000)
					must(t, w.Append(ctx, 1, int64(len(all)), p))
					all = append(all, p...)
					if i == 1 {
						must(t, w.Sync(ctx, 1))
					}
				}
				stop()
				stop = serveOnce()
			}
			must(t, w.Sync(ctx, 1))
			got := make([]byte, len(all))
			_, err = w.Read(ctx, 1, 0, got)
			must(t, err)
			if !bytes.Equal(got, all) {
				t.Error("the segment is another one")
			}
			stop()
			other, err := newBucket(t, store.URL, s3.Options{}).Open("v")
			must(t, err)
			took, err := other.Acquire(ctx, host.AcquireOptions{Takeover: true})
			must(t, err)
			defer func() { must(t, took.Release(ctx)) }()
			stop = serveOnce()
			defer func() { stop() }()
			if err := w.Sync(ctx, 1); !errors.Is(err, host.ErrFenced) {
				t.Errorf("sync after another one took the volume: %v", err)
			}
			_ = w.Release(ctx)
		})
	}
}

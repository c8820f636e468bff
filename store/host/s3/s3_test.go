package s3_test

import (
	"context"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/hosttest"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
)

var ctx = context.Background()

const url = "s3://bucket/volumes/v"

// options are those of tests: whoever holds a volume answers soon, and is waited
// for long, so that a busy machine changes nothing.
func options(endpoint string) s3.Options {
	return s3.Options{
		Endpoint: endpoint, AccessKey: "test", SecretKey: "testtest",
		Beat: 50 * time.Millisecond, Grace: time.Minute, Stale: -1, Patience: 30 * time.Second,
		Pause: time.Millisecond,
	}
}

// direct are options for a server that is reached without a wire.
func direct(server *s3test.Server) s3.Options {
	o := options(server.URL)
	o.Transport = server.Transport()
	return o
}

func strict(o s3.Options) s3.Options {
	o.Strict = true
	return o
}

func create(t testing.TB, url string, o s3.Options) {
	t.Helper()
	if err := s3.Create(ctx, url, o); err != nil {
		t.Fatal(err)
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	hosttest.Run(t, func(t *testing.T) hosttest.Opener {
		o := strict(options(s3test.New(t).URL))
		create(t, url, o)
		return func() (host.Volume, error) { return s3.Open(ctx, url, o) }
	})
}

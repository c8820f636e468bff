package serve_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/hosttest"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/serve"
)

var ctx = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shortDir is a directory whose path is short enough for a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "coffer")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// start serves b on a Unix socket until the end of the test.
func start(t testing.TB, b serve.Backend, o serve.Options) (socket string) {
	t.Helper()
	socket = filepath.Join(shortDir(t), "s")
	l, err := net.Listen("unix", socket)
	must(t, err)
	serveOn(t, l, b, o)
	return socket
}

func serveOn(t testing.TB, l net.Listener, b serve.Backend, o serve.Options) *serve.Server {
	t.Helper()
	s := serve.New(b, o)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		stop, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		must(t, s.Shutdown(stop))
		must(t, <-ended)
	})
	return s
}

// one is a backend with one volume, by any name.
type one struct{ v host.Volume }

func (o one) Open(string) (host.Volume, error) { return o.v, nil }
func (o one) Create(string) error              { return host.ErrExists }

func newDir(t testing.TB) *serve.Dir { return &serve.Dir{Root: t.TempDir(), MaxVolumes: 100} }

func opener(url string) hosttest.Opener {
	return func() (host.Volume, error) { return remote.Open(ctx, url, remote.Options{}) }
}

func TestHost(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		hosttest.Run(t, func(t *testing.T) hosttest.Opener {
			url := "unix:" + start(t, newDir(t), serve.Options{}) + "#v"
			must(t, remote.Create(ctx, url, remote.Options{}))
			return opener(url)
		})
	})
	t.Run("memhost", func(t *testing.T) {
		hosttest.Run(t, func(t *testing.T) hosttest.Opener {
			return opener("unix:" + start(t, one{memhost.New(memhost.Options{})}, serve.Options{}) + "#v")
		})
	})
}

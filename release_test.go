package coffer_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/serve"
)

// A release enclave makes its volume through a host process and comes as far as the
// key in opening it; the same volume is refused to it in its own process.
func TestReleaseThroughAHostProcess(t *testing.T) {
	dir, err := os.MkdirTemp("", "coffer") // short enough for a socket
	must(t, err)
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	must(t, err)
	s, ended := serve.New(&serve.Dir{Root: dir, MaxVolumes: 5}, serve.Options{}), make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	defer func() {
		must(t, s.Shutdown(context.WithoutCancel(ctx)))
		must(t, <-ended)
	}()

	k := kdstest.New(t, kdstest.Options{})
	o := options(t, specConfig(t, "development", "SEC:INSECURE"), k.URL)
	release := kdstest.Release(app, attest.Secure)
	debug := release
	debug.Identity.Mode, debug.Identity.Level = attest.Debug, attest.Insecure
	o.Platform = debug
	secret, err := coffer.NewSecret(ctx, o)
	must(t, err)
	defer secret.Key.Destroy()
	url := "unix:" + filepath.Join(dir, "s") + "#vol"
	must(t, remote.Create(ctx, url, remote.Options{}))
	v, err := remote.Open(ctx, url, remote.Options{})
	must(t, err)
	defer v.Close()
	o.Volume = v
	o.Platform = release
	must(t, coffer.CreateWith(ctx, o, secret, 0, 0))
	// It goes as far as the key, which no release enclave gets of this KDS.
	refused(t, o, kds.ErrRefused, "development master key is not for release enclaves")
	o.Platform = debug
	w := open(t, o)
	must(t, w.WriteFile("secret", []byte("a secret"), 0o600))
	must(t, w.Close())
	readable(t, o)
	o.Platform = release

	direct, err := local.Open(filepath.Join(dir, "vol"))
	must(t, err)
	defer direct.Close()
	o.Volume = direct
	refused(t, o, coffer.ErrHostInProcess, "")
}

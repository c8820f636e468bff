package coffer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

var ctx = context.Background()

// App is the enclave of these tests.
var app = kdstest.AppBuild

// specConfig is a configuration that names a key of a KDS such as kdstest has,
// with a policy for who may have it.
func specConfig(t *testing.T, master, policy string) *config.Config {
	t.Helper()
	return parse(t, fmt.Sprintf(`
persistentFileSystemSize = "8m"
kds {
  kdsEnclaveConstraint = "C:%s SEC:INSECURE"
  persistenceKeySpec {
    masterKeyType = %q
    policyConstraint {
      constraint                   = %q
      useOwnCodeSignerAndProductID = true
    }
  }
}`, kdstest.NodeBuild.CodeHash, master, policy))
}

// machineConfig names no key: the machine's is used.
func machineConfig(t *testing.T) *config.Config {
	t.Helper()
	return parse(t, `persistentFileSystemSize = "8m"`)
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, _, err := config.Parse("test.hcl", []byte(text))
	must(t, err)
	return c
}

// cpu is a simulated CPU.
func cpu(t *testing.T) *sim.CPU {
	t.Helper()
	c, err := sim.NewCPU(t.TempDir())
	must(t, err)
	return c
}

// start starts a build on a CPU.
func start(t *testing.T, c *sim.CPU, b sim.Build) attest.Platform {
	t.Helper()
	e, err := c.Start(b, sim.Options{})
	must(t, err)
	return e
}

// options are those of the enclave of these tests, with a new volume.
func options(t *testing.T, c *config.Config, kdsURL string) coffer.Options {
	t.Helper()
	return coffer.Options{Config: c, Platform: start(t, cpu(t), app), Volume: memhost.New(memhost.Options{}), KDSURL: kdsURL}
}

// made is options with a volume in which the file "secret" is.
func made(t *testing.T, o coffer.Options) coffer.Options {
	t.Helper()
	must(t, coffer.Create(ctx, o, 12, 34))
	v := open(t, o)
	must(t, v.WriteFile("secret", []byte("a secret"), 0o600))
	must(t, v.Close())
	return o
}

func open(t *testing.T, o coffer.Options) *coffer.Volume {
	t.Helper()
	v, err := coffer.Open(ctx, o)
	must(t, err)
	return v
}

// readable checks that a volume opens and holds the secret.
func readable(t *testing.T, o coffer.Options) {
	t.Helper()
	v := open(t, o)
	b, err := v.ReadFile("secret")
	if err != nil || string(b) != "a secret" {
		t.Errorf("secret: %q, %v", b, err)
	}
	must(t, v.Close())
}

// refused checks that a volume does not open, and that nobody holds it after that.
func refused(t *testing.T, o coffer.Options, target error, text string) {
	t.Helper()
	v, err := coffer.Open(ctx, o)
	if err == nil {
		_ = v.Close()
	}
	if !errors.Is(err, target) || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, want %v with %q", err, target, text)
	}
	if o.Volume != nil {
		w, err := o.Volume.Acquire(ctx, host.AcquireOptions{})
		must(t, err)
		must(t, w.Release(ctx))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

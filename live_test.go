package coffer_test

import (
	"errors"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

// withAnchor is a configuration with an anchor in the KDS, told at every fsync.
func withAnchor(t *testing.T, c *config.Config) *config.Config {
	t.Helper()
	return parse(t, string(c.Raw())+anchorBlock)
}

// liveOptions are those of a new volume with an anchor, and the configurations it is
// migrated between.
func liveOptions(t *testing.T) (o coffer.Options, from, to *config.Config) {
	t.Helper()
	from, to = withAnchor(t, specConfig(t, "development", "SEC:INSECURE")), withAnchor(t, specConfig(t, "development", "REVOKE:0 SEC:INSECURE"))
	k := kdstest.New(t, kdstest.Options{})
	return made(t, options(t, from, k.URL)), from, to
}

// with is o with another configuration.
func with(o coffer.Options, c *config.Config) coffer.Options {
	o.Config = c
	return o
}

// A volume that is open goes from one spec to another, there and back, and its anchor
// with it: every fsync is told to whoever owns the record then.
func TestMigrateWhileOpen(t *testing.T) {
	o, from, to := liveOptions(t)
	v := open(t, o)
	for i, c := range []*config.Config{to, from, to} {
		old, err := o.Volume.(*memhost.Host).Clone(), error(nil)
		sum, err := v.Migrate(ctx, c, coffer.MigrateOptions{})
		if err != nil || sum.Found != migrate.Needed {
			t.Fatalf("migration %d: %+v, %v", i, sum, err)
		}
		must(t, v.WriteFile("secret", []byte("a secret"), 0o600))
		must(t, v.Sync())
		before := with(o, []*config.Config{from, to}[i%2])
		before.Volume = old
		refused(t, before, store.ErrAnchorOther, "")
	}
	if sum, err := v.Migrate(ctx, to, coffer.MigrateOptions{}); err != nil || sum.Found != migrate.Finished {
		t.Errorf("once more: %+v, %v", sum, err)
	}
	if v.Options().Config != to {
		t.Error("it does not know what it was migrated to")
	}
	must(t, v.Close())
	readable(t, with(o, to))
	refused(t, with(o, from), coffer.ErrOtherSpec, "")
}

// Called off in the middle, key and anchor are those of before.
func TestMigrateCalledOff(t *testing.T) {
	o, from, to := liveOptions(t)
	v := open(t, o)
	c := &migrate.Control{}
	sum, err := v.Migrate(ctx, to, coffer.MigrateOptions{Control: c, Progress: func(migrate.Progress) {
		if _, err := v.Migrate(ctx, to, coffer.MigrateOptions{}); !errors.Is(err, coffer.ErrMigrating) {
			t.Errorf("two at once: %v", err)
		}
		must(t, c.CallOff())
	}})
	if err != nil || !sum.CalledOff {
		t.Fatalf("%+v, %v", sum, err)
	}
	must(t, v.WriteFile("secret", []byte("a secret"), 0o600))
	must(t, v.Sync())
	if v.Options().Config != from {
		t.Error("it does not know what it was brought back to")
	}
	must(t, v.Close())
	readable(t, o)
	refused(t, with(o, to), coffer.ErrOtherSpec, "")
}

// A migration needs both keys to begin, and a KDS that is gone leaves the volume as it
// is.
func TestMigrateWithoutTheKDS(t *testing.T) {
	from, to := specConfig(t, "development", "SEC:INSECURE"), specConfig(t, "development", "REVOKE:0 SEC:INSECURE")
	at, err := url.Parse(kdstest.New(t, kdstest.Options{}).URL)
	must(t, err)
	way := httptest.NewServer(httputil.NewSingleHostReverseProxy(at))
	o := options(t, from, way.URL)
	o.KDSTimeout = time.Second
	made(t, o)
	v := open(t, o)
	way.Close()
	if _, err := v.Migrate(ctx, to, coffer.MigrateOptions{}); !errors.Is(err, kds.ErrUnreachable) {
		t.Errorf("without a KDS: %v", err)
	}
	must(t, v.WriteFile("secret", []byte("a secret"), 0o600))
	must(t, v.Close())
}

// A volume does not lose its anchor on the way.
func TestMigrateKeepsTheAnchor(t *testing.T) {
	o, _, _ := liveOptions(t)
	v := open(t, o)
	if _, err := v.Migrate(ctx, specConfig(t, "development", "REVOKE:0 SEC:INSECURE"), coffer.MigrateOptions{}); !errors.Is(err, coffer.ErrAnchor) {
		t.Errorf("to a configuration without an anchor: %v", err)
	}
	must(t, v.Close())
}

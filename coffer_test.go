package coffer_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/coffer-fs/coffer"
	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

func TestOpenWithKDS(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	o := made(t, options(t, specConfig(t, "development", "SEC:INSECURE"), k.URL))
	readable(t, o)
	v := open(t, o)
	i, err := v.Stat("/")
	must(t, err)
	if a := i.Sys().(cofs.Attr); a.UID != 12 || a.GID != 34 {
		t.Errorf("the root belongs to %d:%d", a.UID, a.GID)
	}
	must(t, v.Close())
	other := o
	other.Platform = start(t, cpu(t), app)
	readable(t, other)
}

func TestOpenWithMachineKey(t *testing.T) {
	c := cpu(t)
	o := options(t, machineConfig(t), "")
	o.Platform = start(t, c, app)
	made(t, o)
	upgraded := app
	upgraded.CodeHash, upgraded.RevocationLevel = kdstest.Hash("F"), 3
	o.Platform = start(t, c, upgraded)
	readable(t, o)
	stranger := app
	stranger.SignerHash = kdstest.Hash("F")
	o.Platform = start(t, c, stranger)
	refused(t, o, store.ErrWrongKey, "")
	o.Platform = start(t, cpu(t), app)
	refused(t, o, store.ErrWrongKey, "")
}

// Without a KDS a simulated enclave goes on with the weaker key, and says so.
func TestWarnsOfMachineKey(t *testing.T) {
	var log bytes.Buffer
	o := options(t, specConfig(t, "development", "SEC:INSECURE"), "")
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	must(t, coffer.Create(ctx, o, 0, 0))
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "opens on no other") {
		t.Errorf("logged %q", &log)
	}
}

// A filesystem in memory is there without a volume, a key or a KDS, and gone when
// it is closed.
func TestInMemory(t *testing.T) {
	o := coffer.Options{Config: parse(t, `inMemoryFileSystemSize = "8m"`), Platform: start(t, cpu(t), app)}
	v := open(t, o)
	must(t, v.WriteFile("scratch", make([]byte, 1<<20), 0o600))
	err := v.WriteFile("large", make([]byte, 16<<20), 0o600)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("beyond the limit: %v", err)
	}
	must(t, v.Remove("large"))
	must(t, v.Close())
	v = open(t, o)
	if _, err := v.Stat("scratch"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after closing: %v", err)
	}
	must(t, v.Close())
	o.Config = parse(t, `inMemoryFileSystemSize = 0`)
	refused(t, o, coffer.ErrNotConfigured, "none in memory")
}

// Both filesystems: the one in memory is at /tmp, and hides what the volume has
// there for as long as it is.
func TestMemoryAtTmp(t *testing.T) {
	o := made(t, options(t, machineConfig(t), ""))
	v := open(t, o)
	if v.Memory() == nil {
		t.Fatal("none in memory")
	}
	must(t, v.WriteFile("/tmp/scratch", []byte("x"), 0o600))
	must(t, v.WriteFile("/kept", []byte("x"), 0o600))
	if i, err := v.Stat("/tmp"); err != nil || i.Mode() != fs.ModeDir|fs.ModeSticky|0o777 {
		t.Errorf("/tmp: %v, %v", i, err)
	}
	must(t, v.Close())
	for _, readOnly := range []bool{false, true} {
		o.ReadOnly = readOnly
		v = open(t, o)
		if _, err := v.Stat("/tmp/scratch"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after closing: %v", err)
		}
		if _, err := v.Stat("/kept"); err != nil {
			t.Error(err)
		}
		must(t, v.WriteFile("/tmp/scratch", []byte("x"), 0o600)) // also of a read-only volume
		must(t, v.Close())
	}
	o.ReadOnly, o.VolumeOnly = false, true
	v = open(t, o)
	must(t, v.WriteFile("/tmp/on disk", nil, 0o600))
	must(t, v.Close())
	o.VolumeOnly = false
	v = open(t, o)
	if es, err := v.ReadDir("/tmp"); err != nil || len(es) != 0 {
		t.Errorf("hidden: %v, %v", es, err)
	}
	must(t, v.Close())
}

// Who opens read-only changes nothing, and keeps others from changing anything.
func TestReadOnly(t *testing.T) {
	o := made(t, options(t, machineConfig(t), ""))
	ro := o
	ro.ReadOnly, ro.Owner = true, "a reader"
	v := open(t, ro)
	if b, err := v.ReadFile("secret"); err != nil || string(b) != "a secret" {
		t.Errorf("%q, %v", b, err)
	}
	if err := v.WriteFile("new", nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("write: %v", err)
	}
	for _, p := range []coffer.Options{o, ro} {
		if _, err := coffer.Open(ctx, p); !errors.Is(err, host.ErrInUse) {
			t.Errorf("open meanwhile: %v", err)
		}
	}
	must(t, v.Close())
	readable(t, o)
}

func TestTakeover(t *testing.T) {
	o := made(t, options(t, machineConfig(t), ""))
	first := open(t, o)
	must(t, first.WriteFile("late", []byte("late"), 0o600))
	o.Takeover = true
	readable(t, o)
	if err := first.Close(); !errors.Is(err, host.ErrFenced) {
		t.Errorf("the first one closes: %v", err)
	}
}

// What is needed is asked for, and what cannot be is refused before anything is
// touched.
func TestOptions(t *testing.T) {
	good := options(t, machineConfig(t), "")
	for text, spoil := range map[string]func(*coffer.Options){
		"no configuration":   func(o *coffer.Options) { o.Config = nil },
		"no platform":        func(o *coffer.Options) { o.Platform = nil },
		"no volume is given": func(o *coffer.Options) { o.Volume = nil },
	} {
		o := good
		spoil(&o)
		if _, err := coffer.Open(ctx, o); !errors.Is(err, coffer.ErrOptions) || !strings.Contains(err.Error(), text) {
			t.Errorf("open: %v, want %q", err, text)
		}
		if err := coffer.Create(ctx, o, 0, 0); !errors.Is(err, coffer.ErrOptions) || !strings.Contains(err.Error(), text) {
			t.Errorf("create: %v, want %q", err, text)
		}
	}
	refused(t, good, store.ErrNoVolume, "")
	memory := good
	memory.Config = parse(t, `inMemoryFileSystemSize = "8m"`)
	if err := coffer.Create(ctx, memory, 0, 0); !errors.Is(err, coffer.ErrNotConfigured) {
		t.Errorf("create without a persistent filesystem: %v", err)
	}
	made(t, good)
	if err := coffer.Create(ctx, good, 0, 0); !errors.Is(err, host.ErrExists) {
		t.Errorf("create again: %v", err)
	}
	readable(t, good)
}

// A release enclave does not start on a weaker footing than its configuration
// says.
func TestRelease(t *testing.T) {
	release := kdstest.Release(app, attest.Secure)
	debug := release
	debug.Identity.Mode, debug.Identity.Level = attest.Debug, attest.Insecure
	k := kdstest.New(t, kdstest.Options{})
	o := options(t, specConfig(t, "development", "SEC:INSECURE"), k.URL)
	o.Platform = debug
	made(t, o)
	readable(t, o)
	o.Platform = release

	t.Run("no KDS", func(t *testing.T) {
		o := o
		o.KDSURL = ""
		refused(t, o, kds.ErrNoKDS, "")
		if _, err := coffer.NewSecret(ctx, o); !errors.Is(err, kds.ErrNoKDS) {
			t.Errorf("new secret: %v", err)
		}
	})
	t.Run("development key", func(t *testing.T) {
		refused(t, o, kds.ErrRefused, "development master key is not for release enclaves")
		if _, err := coffer.NewSecret(ctx, o); !errors.Is(err, kds.ErrRefused) {
			t.Errorf("new secret: %v", err)
		}
	})
	t.Run("host in process", func(t *testing.T) {
		o := o
		dir := t.TempDir()
		must(t, local.Create(dir))
		v, err := local.Open(dir)
		must(t, err)
		defer v.Close()
		o.Volume = v
		refused(t, o, coffer.ErrHostInProcess, "")
		if err := coffer.Create(ctx, o, 0, 0); !errors.Is(err, coffer.ErrHostInProcess) {
			t.Errorf("create: %v", err)
		}
	})
	o.Platform = debug
	readable(t, o)
}

// A migration to the key of the machine goes on under the key it began with.
func TestNewSecretIsTheSlots(t *testing.T) {
	o := made(t, options(t, machineConfig(t), ""))
	a, err := coffer.NewSecret(ctx, o)
	must(t, err)
	b, err := coffer.NewSecret(ctx, o)
	must(t, err)
	if !bytes.Equal(a.Descriptor, b.Descriptor) || !bytes.Equal(a.Key.Bytes(), b.Key.Bytes()) {
		t.Error("another key each time")
	}
	o.Platform = start(t, cpu(t), app) // on which the slot does not open
	c, err := coffer.NewSecret(ctx, o)
	must(t, err)
	if bytes.Equal(a.Descriptor, c.Descriptor) {
		t.Error("another machine took a slot that it does not open")
	}
	o.Volume = memhost.New(memhost.Options{})
	d, err := coffer.NewSecret(ctx, o)
	must(t, err)
	if bytes.Equal(c.Descriptor, d.Descriptor) {
		t.Error("two volumes share a key")
	}
}

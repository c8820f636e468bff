package local_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

func TestCreate(t *testing.T) {
	dir := newVolume(t)
	if got, want := names(t, dir), []string{"catalog.db", "segments", "spare"}; !slices.Equal(got, want) {
		t.Errorf("a new volume has %q, want %q", got, want)
	}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
		return nil
	}))
}

func TestCreateRefuses(t *testing.T) {
	parent := t.TempDir()
	path := func(name string) string { return filepath.Join(parent, name) }
	must(t, local.Create(path("volume")))
	must(t, os.WriteFile(path("file"), nil, 0o600))
	must(t, os.Mkdir(path("full"), 0o700))
	must(t, os.WriteFile(path("full/letter"), nil, 0o600))
	must(t, os.MkdirAll(path("half/segments"), 0o700))
	must(t, os.WriteFile(path("half/segments/1.seg"), nil, 0o600))
	must(t, os.Symlink(path("nowhere"), path("link")))
	tests := []struct {
		name    string
		kind    error
		message string
	}{
		{"volume", host.ErrExists, "volume"},
		{"file", host.ErrExists, "a file of that name"},
		{"full", host.ErrExists, `directory is not empty, it has "letter"`},
		{"half", host.ErrExists, `directory is not empty, it has "segments/1.seg"`},
		{"absent/volume", host.ErrNotFound, "no parent directory"},
		{"link", fs.ErrNotExist, "link"},
	}
	for _, test := range tests {
		err := local.Create(path(test.name))
		if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.message) {
			t.Errorf("create %s: %v, want %q with %q", test.name, err, test.kind, test.message)
		}
	}
	if got := names(t, path("full")); !slices.Equal(got, []string{"letter"}) {
		t.Errorf("a refused directory now has %q", got)
	}
	acquire(t, path("volume"))
}

func TestCreateInEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	must(t, local.Create(dir))
	acquire(t, dir)
}

func TestCreateAfterCrash(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "segments"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "catalog.new.1"), []byte("half"), 0o600))
	must(t, local.Create(dir))
	if got := names(t, dir); slices.Contains(got, "catalog.new.1") {
		t.Errorf("what the crash left is still there: %q", got)
	}
	acquire(t, dir)
}

func TestOpenRefuses(t *testing.T) {
	parent := t.TempDir()
	path := func(name string) string { return filepath.Join(parent, name) }
	must(t, os.WriteFile(path("file"), nil, 0o600))
	must(t, os.Mkdir(path("empty"), 0o700))
	for _, name := range []string{"linked", "nosegments", "pipe"} {
		must(t, local.Create(path(name)))
	}
	must(t, os.Rename(path("linked/catalog.db"), path("elsewhere.db")))
	must(t, os.Symlink(path("elsewhere.db"), path("linked/catalog.db")))
	must(t, os.Remove(path("nosegments/segments")))
	must(t, os.Symlink(parent, path("nosegments/segments")))
	must(t, os.Remove(path("pipe/catalog.db")))
	mkfifo(t, path("pipe/catalog.db"))
	tests := []struct {
		name    string
		kind    error // nil: any
		message string
	}{
		{"absent", host.ErrNotFound, "no such directory"},
		{"file", host.ErrNotFound, "not a directory"},
		{"empty", host.ErrNotFound, "no catalog.db in it, so it is not a volume"},
		{"linked", nil, "catalog.db"},
		{"nosegments", local.ErrDamaged, "segments"},
		{"pipe", nil, "catalog.db"},
	}
	for _, test := range tests {
		v, err := local.Open(path(test.name))
		if err == nil {
			t.Errorf("%s was opened", test.name)
			v.Close()
			continue
		}
		if test.kind != nil && !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.message) {
			t.Errorf("open %s: %v, want %v with %q", test.name, err, test.kind, test.message)
		}
	}
}

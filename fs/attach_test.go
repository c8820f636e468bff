package fs_test

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"syscall"
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/fstest"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

// attached returns two filesystems, the second at /mnt/in of the first.
func attached(t *testing.T) (outer, inner *fs.FS) {
	t.Helper()
	inner, outer = fstest.Memory(t), fstest.Memory(t) // closed in turn, the last first
	must(t, outer.MkdirAll("/mnt/in", 0o755))
	must(t, outer.WriteFile("/mnt/in/hidden", nil, 0o600))
	must(t, outer.Attach("/mnt/in", inner))
	return outer, inner
}

func TestAttach(t *testing.T) {
	outer, inner := attached(t)
	must(t, outer.WriteFile("/mnt/in/file", []byte("inside"), 0o600))
	if b, err := inner.ReadFile("/file"); err != nil || string(b) != "inside" {
		t.Errorf("inside: %q, %v", b, err)
	}
	if _, err := outer.Stat("/mnt/in/hidden"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("what is hidden: %v", err)
	}
	must(t, outer.WriteFile("/above", []byte("outside"), 0o600))
	must(t, outer.Mkdir("/mnt/in/dir", 0o700))
	must(t, outer.Symlink("mnt/in/file", "/link"))
	must(t, outer.Symlink("../../above", "/mnt/in/up"))
	must(t, outer.Symlink("/above", "/mnt/in/dir/root"))
	for name, want := range map[string]string{
		"/mnt/in/../../above": "outside", "/mnt/in/.././in/file": "inside", "/mnt/in/dir/../file": "inside",
		"/link": "inside", "/mnt/in/up": "outside", "/mnt/in/dir/root": "outside",
	} {
		if b, err := outer.ReadFile(name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v, want %q", name, b, err, want)
		}
	}
	must(t, outer.Symlink("mnt/in/new", "/new"))
	must(t, outer.WriteFile("/new", nil, 0o600))
	if _, err := inner.Stat("/new"); err != nil {
		t.Errorf("made through a link: %v", err)
	}
}

// Nothing is linked or renamed between them, and where one is attached stays.
func TestAttachBounds(t *testing.T) {
	outer, inner := attached(t)
	must(t, outer.WriteFile("/out", nil, 0o600))
	must(t, outer.WriteFile("/mnt/in/in", nil, 0o600))
	for what, got := range map[string]error{
		"rename in":  outer.Rename("/out", "/mnt/in/out"),
		"rename out": outer.Rename("/mnt/in/in", "/in"),
		"link":       outer.Link("/out", "/mnt/in/link"),
	} {
		if !errors.Is(got, syscall.EXDEV) {
			t.Errorf("%s: %v", what, got)
		}
	}
	must(t, outer.Mkdir("/dir", 0o700))
	for what, got := range map[string]error{
		"remove":        outer.Remove("/mnt/in"),
		"remove slash":  outer.Remove("/mnt/in/"),
		"remove all":    outer.RemoveAll("/mnt/in"),
		"remove around": outer.RemoveAll("/mnt"),
		"rename":        outer.Rename("/mnt/in", "/other"),
		"replace":       outer.RenameWith("/dir", "/mnt/in", fs.RenameExchange),
	} {
		if !errors.Is(got, syscall.EBUSY) {
			t.Errorf("%s: %v", what, got)
		}
	}
	if err := outer.Attach("/", inner); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("attach to the root: %v", err)
	}
	if err := outer.Attach("/out", inner); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("attach to a file: %v", err)
	}
	must(t, outer.Rename("/mnt/in/in", "/mnt/in/renamed"))
	must(t, outer.Rename("/mnt", "/moved"))
	if _, err := outer.Stat("/moved/in/renamed"); err != nil {
		t.Errorf("after its parent was moved: %v", err)
	}
}

// A full volume can be opened with another attached to it: to make room in it.
func TestAttachToFull(t *testing.T) {
	v := memhost.New(memhost.Options{Forgetful: true})
	formatted(t, v, 8<<20)
	f := opened(t, v, fs.Options{})
	fill := func(what string, do func(i int) error) {
		t.Helper()
		for i := range 100_000 {
			if err := do(i); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("%s %d: %v", what, i, err)
				}
				return
			}
		}
		t.Fatalf("no end of %s", what)
	}
	fill("files", func(i int) error { return f.WriteFile(fmt.Sprintf("/%d", i), make([]byte, 256<<10), 0o600) })
	fill("directories", func(i int) error { return f.Mkdir(fmt.Sprintf("/d%d", i), 0o700) })
	if err := f.Mkdir("/more", 0o700); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("it is not full: %v", err)
	}
	must(t, f.Attach("/tmp", fstest.Memory(t)))
	must(t, f.WriteFile("/tmp/file", make([]byte, 1<<20), 0o600))
	must(t, f.Remove("/0"))
	must(t, f.Mkdir("/more", 0o700))
}

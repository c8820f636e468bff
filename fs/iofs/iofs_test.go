package iofs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
	"testing/fstest"

	cofs "github.com/coffer-fs/coffer/fs"
	memory "github.com/coffer-fs/coffer/fs/fstest"
	"github.com/coffer-fs/coffer/fs/iofs"
)

// fill makes a small tree with everything that io/fs has a word for.
func fill(t testing.TB, f *cofs.FS) {
	t.Helper()
	must(t, f.MkdirAll("a/b", 0o755))
	must(t, f.Mkdir("empty", 0o700))
	must(t, f.WriteFile("z", nil, 0o600))
	must(t, f.WriteFile("a/file", []byte("contents"), 0o644))
	must(t, f.WriteFile("a/b/large", make([]byte, 100_000), 0o644))
	must(t, f.Symlink("file", "a/link"))
	for i := range 40 {
		must(t, f.WriteFile(fmt.Sprintf("a/b/%d", 39-i), []byte("x"), 0o644))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFS(t *testing.T) {
	f := memory.Memory(t)
	fill(t, f)
	v := iofs.New(f)
	must(t, fstest.TestFS(v, "a/b/large", "a/b/7", "a/file", "a/link", "empty", "z"))
	sub, err := fs.Sub(v, "a")
	must(t, err)
	must(t, fstest.TestFS(sub, "b/large", "b/7", "file", "link"))
}

func TestLinks(t *testing.T) {
	f := memory.Memory(t)
	fill(t, f)
	v := iofs.New(f)
	target, err := fs.ReadLink(v, "a/link")
	must(t, err)
	i, err := fs.Lstat(v, "a/link")
	must(t, err)
	j, err := fs.Stat(v, "a/link")
	must(t, err)
	if target != "file" || i.Mode().Type() != fs.ModeSymlink || !j.Mode().IsRegular() {
		t.Errorf("target %q, modes %v and %v", target, i.Mode(), j.Mode())
	}
}

// Errors speak of the name that was given, and are the ones callers look for.
func TestErrors(t *testing.T) {
	f := memory.Memory(t)
	fill(t, f)
	sub, err := iofs.New(f).Sub("a")
	must(t, err)
	for _, c := range []struct {
		name string
		want error
	}{
		{"none", fs.ErrNotExist}, {"file/x", syscall.ENOTDIR},
		{"../z", fs.ErrInvalid}, {"/a", fs.ErrInvalid}, {"", fs.ErrInvalid}, {"b/", fs.ErrInvalid},
	} {
		_, open := sub.Open(c.name)
		_, read := fs.ReadFile(sub, c.name)
		_, list := fs.ReadDir(sub, c.name)
		_, stat := fs.Stat(sub, c.name)
		_, lstat := fs.Lstat(sub, c.name)
		_, link := fs.ReadLink(sub, c.name)
		for op, err := range map[string]error{"open": open, "read": read, "list": list, "stat": stat, "lstat": lstat, "link": link} {
			var e *fs.PathError
			if !errors.Is(err, c.want) || !errors.As(err, &e) || e.Path != c.name {
				t.Errorf("%s %q: %v", op, c.name, err)
			}
		}
	}
}

func ExampleNew() {
	f, closeFS := memory.Example()
	defer closeFS()
	_ = f.MkdirAll("letters/old", 0o755)
	_ = f.WriteFile("letters/old/first", []byte("dear"), 0o600)
	_ = fs.WalkDir(iofs.New(f), ".", func(name string, d fs.DirEntry, err error) error {
		fmt.Println(name, d.IsDir())
		return err
	})
	// Output:
	// . true
	// letters true
	// letters/old true
	// letters/old/first false
}

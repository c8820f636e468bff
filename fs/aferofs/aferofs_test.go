package aferofs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/spf13/afero"

	"github.com/coffer-fs/coffer/fs/aferofs"
	memory "github.com/coffer-fs/coffer/fs/fstest"
)

// subjects are ours and, as the reference, the operating system's.
func subjects(t *testing.T) map[string]afero.Fs {
	return map[string]afero.Fs{
		"coffer": aferofs.New(memory.Memory(t)),
		"os":     afero.NewBasePathFs(afero.NewOsFs(), t.TempDir()),
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFs(t *testing.T) {
	for name, f := range subjects(t) {
		t.Run(name, func(t *testing.T) {
			t.Run("files", func(t *testing.T) { testFiles(t, f) })
			t.Run("directories", func(t *testing.T) { testDirs(t, f) })
			t.Run("links", func(t *testing.T) { testLinks(t, f) })
			t.Run("io/fs", func(t *testing.T) { testIOFS(t, f) })
		})
	}
}

func testFiles(t *testing.T, f afero.Fs) {
	must(t, f.MkdirAll("/files/deep", 0o755))
	a := afero.Afero{Fs: f}
	must(t, a.WriteFile("/files/a", []byte("hello"), 0o640))
	h, err := f.OpenFile("/files/a", os.O_RDWR|os.O_APPEND, 0)
	must(t, err)
	_, err = h.WriteString(", you")
	must(t, err)
	must(t, h.Sync())
	must(t, h.Close())
	h, err = f.OpenFile("/files/a", os.O_RDWR, 0)
	must(t, err)
	_, err = h.WriteAt([]byte("J"), 0)
	must(t, err)
	must(t, h.Truncate(7))
	_, err = h.Seek(-3, io.SeekEnd)
	must(t, err)
	rest, err := io.ReadAll(h)
	must(t, err)
	must(t, h.Close())
	whole, err := a.ReadFile("/files/a")
	must(t, err)
	if string(rest) != "o, " || string(whole) != "Jello, " {
		t.Errorf("read %q and %q", rest, whole)
	}
	when := time.Unix(1_000_000_000, 0)
	must(t, f.Chtimes("/files/a", when, when))
	must(t, f.Chmod("/files/a", 0o600))
	i, err := f.Stat("/files/a")
	must(t, err)
	if i.Name() != "a" || i.Size() != 7 || i.Mode() != 0o600 || !i.ModTime().Equal(when) {
		t.Errorf("%s %d %v %v", i.Name(), i.Size(), i.Mode(), i.ModTime())
	}
	must(t, f.Rename("/files/a", "/files/deep/b"))
	if _, err := f.Stat("/files/a"); !os.IsNotExist(err) {
		t.Errorf("the old name: %v", err)
	}
	if _, err := f.OpenFile("/files/deep/b", os.O_CREATE|os.O_EXCL, 0o600); !os.IsExist(err) {
		t.Errorf("exclusively: %v", err)
	}
	must(t, f.RemoveAll("/files"))
	if ok, err := a.Exists("/files"); ok || err != nil {
		t.Errorf("after RemoveAll: %v, %v", ok, err)
	}
}

func testDirs(t *testing.T, f afero.Fs) {
	var want []string
	must(t, f.Mkdir("/dir", 0o755))
	for i := range 10 {
		want = append(want, fmt.Sprint(i))
		must(t, afero.WriteFile(f, filepath.Join("/dir", want[i]), make([]byte, i), 0o600))
	}
	d, err := f.Open("/dir")
	must(t, err)
	defer d.Close()
	var got []string
	for {
		is, err := d.Readdir(3)
		for _, i := range is {
			got = append(got, i.Name())
			if fmt.Sprint(i.Size()) != i.Name() {
				t.Errorf("%s has %d bytes", i.Name(), i.Size())
			}
		}
		if err == io.EOF {
			break
		}
		must(t, err)
	}
	slices.Sort(got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("listed %q", got)
	}
	if names, err := d.Readdirnames(-1); len(names) != 0 || err != nil {
		t.Errorf("at the end: %q, %v", names, err)
	}
	if err := f.Remove("/dir"); err == nil {
		t.Error("removed a directory that is not empty")
	}
}

func testLinks(t *testing.T, f afero.Fs) {
	l := f.(afero.Symlinker)
	must(t, afero.WriteFile(f, "/target", []byte("x"), 0o600))
	must(t, l.SymlinkIfPossible("target", "/link"))
	i, lstat, err := l.LstatIfPossible("/link")
	must(t, err)
	if !lstat || i.Mode().Type() != fs.ModeSymlink {
		t.Errorf("lstat %v: %v", lstat, i.Mode())
	}
	_, err = l.ReadlinkIfPossible("/link")
	must(t, err)
	if _, err := l.ReadlinkIfPossible("/target"); err == nil {
		t.Error("read a link that is none")
	}
}

func testIOFS(t *testing.T, f afero.Fs) {
	must(t, f.MkdirAll("/io/fs", 0o755))
	must(t, afero.WriteFile(f, "/io/fs/file", []byte("x"), 0o644))
	must(t, fstest.TestFS(afero.NewIOFS(afero.NewBasePathFs(f, "/io")), "fs/file"))
}

// Errors are those that afero's users look for.
func TestErrors(t *testing.T) {
	f := aferofs.New(memory.Memory(t))
	for op, err := range map[string]error{
		"open":   second(f.Open("none")),
		"create": second(f.Create("none/x")),
		"stat":   second(f.Stat("none")),
		"remove": f.Remove("none"),
		"rename": f.Rename("none", "x"),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func ExampleNew() {
	f, closeFS := memory.Example()
	defer closeFS()
	files := afero.Afero{Fs: aferofs.New(f)}
	_ = files.WriteFile("/greeting", []byte("hello"), 0o600)
	b, _ := files.ReadFile("/greeting")
	fmt.Println(string(b))
	// Output: hello
}

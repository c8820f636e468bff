package fs_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// opened returns a new filesystem on a host, until the end of the test.
func opened(t *testing.T, v *memhost.Host, o fs.Options) *fs.FS {
	t.Helper()
	st := storetest.Open(t, v)
	f, err := fs.Open(bg, st, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = f.Close()
		_ = st.Close()
	})
	return f
}

func formatted(t *testing.T, v *memhost.Host, capacity int64) {
	t.Helper()
	storetest.Create(t, v, capacity)
	st := storetest.Open(t, v)
	if err := fs.Format(bg, st, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOrder makes pairs of operations, the first of which is buffered and the
// second not: no crash may find the second without the first.
func TestOrder(t *testing.T) {
	big := bytes.Repeat([]byte("direct"), 3<<20/6)
	// The third write goes straight to the volume too, and must not bring the
	// first along: it is one of a file of its own.
	seconds := map[string]func(f *fs.FS) error{
		"write": func(f *fs.FS) error { return writeAt(f, "second", big, 0) },
		"truncate": func(f *fs.FS) error {
			if err := f.Truncate("second", 1<<30); err != nil {
				return err
			}
			return writeAt(f, "second", big, 1<<29)
		},
		"punch": func(f *fs.FS) error {
			file, err := f.OpenFile("second", os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer file.Close()
			if err := file.Allocate(fs.AllocZeroRange, 0, 1<<20); err != nil {
				return err
			}
			return writeAt(f, "second", big, 1<<29)
		},
		"rename": func(f *fs.FS) error {
			if err := f.Rename("second", "renamed"); err != nil {
				return err
			}
			return writeAt(f, "renamed", big, 0)
		},
	}
	for name, second := range seconds {
		t.Run(name, func(t *testing.T) {
			v := memhost.New(memhost.Options{})
			formatted(t, v, 64<<20)
			f := opened(t, v, fs.Options{})
			for _, name := range []string{"first", "second", "third"} {
				if err := f.WriteFile(name, make([]byte, 10_000), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			if err := writeAt(f, "first", []byte("buffered"), 0); err != nil {
				t.Fatal(err)
			}
			if err := second(f); err != nil {
				t.Fatal(err)
			}
			// What is in memory of the second goes to the disk with a third.
			if err := writeAt(f, "third", big, 0); err != nil {
				t.Fatal(err)
			}
			after := opened(t, v.Crash(memhost.CrashOptions{Decide: memhost.KeepAll}), fs.Options{})
			if _, err := after.Stat("renamed"); err != nil {
				info, err := after.Stat("second")
				if err != nil {
					t.Fatal(err)
				}
				if info.Size() == 10_000 {
					t.Fatal("the second operation did not reach the disk: the test tests nothing")
				}
			}
			if b, err := after.ReadFile("first"); err != nil || !bytes.HasPrefix(b, []byte("buffered")) {
				t.Fatalf("the first operation is missing: %q, %v", b[:10], err)
			}
		})
	}
}

func writeAt(f *fs.FS, name string, p []byte, off int64) error {
	file, err := f.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if n, err := file.WriteAt(p, off); err != nil || n != len(p) {
		return fmt.Errorf("wrote %d of %d bytes: %w", n, len(p), err)
	}
	return nil
}

// TestManySmallFiles buffers more small files, and reads more, than one Update
// has room for.
func TestManySmallFiles(t *testing.T) {
	f, _ := newFS(t)
	const count = 3000
	name := func(i int) string { return fmt.Sprintf("f%d", i) }
	for i := range count {
		if err := f.WriteFile(name(i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range count {
		if err := writeAt(f, name(i), bytes.Repeat([]byte{byte(i)}, fs.InlineMax), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	for i := range count { // gives each a new access time
		if b, err := f.ReadFile(name(i)); err != nil || len(b) != fs.InlineMax || b[0] != byte(i) {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

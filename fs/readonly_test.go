package fs_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// refusesChanges wants EROFS from everything that changes something.
func refusesChanges(t *testing.T, f *fs.FS) {
	t.Helper()
	for name, err := range map[string]error{
		"create": f.WriteFile("new", nil, 0o600), "write": f.WriteFile("file", []byte("x"), 0o600),
		"mkdir": f.Mkdir("dir", 0o700), "rename": f.Rename("file", "other"), "remove": f.Remove("file"),
		"truncate": f.Truncate("file", 0), "chmod": f.Chmod("file", 0), "xattr": f.SetXattr("file", "user.x", nil, 0),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := f.ReadFile("file"); err != nil || string(b) != "content" {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestReadOnly(t *testing.T) {
	v := memhost.New(memhost.Options{})
	formatted(t, v, 64<<20)
	f := opened(t, v, fs.Options{})
	if err := f.WriteFile("file", []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(bg, v.Clone(), store.Options{Unlocker: storetest.Unlocker("test"), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	ro, err := fs.Open(bg, st, fs.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	refusesChanges(t, ro)
	clean(t, ro)
	if err := errors.Join(ro.Close(), st.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestFailedSync has the disk die: the sync says so, what is buffered is not
// lost to readers, everything else is refused, and Close gives the error.
func TestFailedSync(t *testing.T) {
	v := memhost.New(memhost.Options{})
	formatted(t, v, 64<<20)
	f := opened(t, v, fs.Options{})
	if err := f.WriteFile("file", []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.CutAt(v.Calls(), memhost.CutBefore)
	if err := f.Sync(); err == nil {
		t.Fatal("a sync that failed was acknowledged")
	}
	refusesChanges(t, f)
	if err := f.Close(); !errors.Is(err, syscall.EROFS) {
		t.Errorf("close: %v", err)
	}
}

func TestMaxInodes(t *testing.T) {
	v := memhost.New(memhost.Options{})
	formatted(t, v, 64<<20)
	f := opened(t, v, fs.Options{MaxInodes: 3})
	for _, name := range []string{"a", "b"} {
		if err := f.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Mkdir("c", 0o700); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("one too many: %v", err)
	}
	if err := f.Mkdir("a", 0o700); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("one that is there: %v", err)
	}
	if err := f.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if err := f.Mkdir("c", 0o700); err != nil {
		t.Errorf("after one went: %v", err)
	}
}

// TestClosed wants everything on what was closed to be refused.
func TestClosed(t *testing.T) {
	f, _ := newFS(t)
	file, err := f.Create("file")
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	_, read := file.Read(make([]byte, 1))
	_, write := file.Write([]byte("x"))
	_, stat := file.Stat()
	_, seek := file.Seek(0, 0)
	_, list := file.ReadDir(1)
	for name, err := range map[string]error{
		"read": read, "write": write, "stat": stat, "seek": seek, "readdir": list,
		"truncate": file.Truncate(0), "sync": file.Sync(), "close": file.Close(), "allocate": file.Allocate(0, 0, 1),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

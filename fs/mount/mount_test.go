package mount_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/mount"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// mounted returns the directory on which a new filesystem is mounted, until the
// end of the test.
func mounted(t *testing.T) string {
	t.Helper()
	return mountedWith(t, 1<<30)
}

func mountedWith(t *testing.T, capacity int64) string {
	t.Helper()
	return show(t, newFS(t, capacity))
}

// mountedAttached shows a filesystem with another at its directory "in", as
// fstest.Suite.NewAttached wants it.
func mountedAttached(t *testing.T) string {
	t.Helper()
	inner, outer := newFS(t, 1<<30), newFS(t, 1<<30)
	check(t, outer.Mkdir("in", 0o755))
	check(t, outer.WriteFile("in/hidden", nil, 0o600))
	check(t, inner.Chmod("/", 0o777|os.ModeSticky))
	check(t, outer.Attach("in", inner))
	return show(t, outer)
}

// newFS is an empty filesystem, of which nothing may be left but its names when the
// test ends.
func newFS(t *testing.T, capacity int64) *fs.FS {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("this machine has no /dev/fuse")
	}
	v := memhost.New(memhost.Options{Forgetful: true})
	storetest.Create(t, v, capacity)
	st := storetest.Open(t, v)
	check(t, fs.Format(context.Background(), st, uint32(os.Getuid()), uint32(os.Getgid())))
	return openFS(t, st)
}

// openFS opens the filesystem of a store, for newFS.
func openFS(t *testing.T, st *store.Store) *fs.FS {
	t.Helper()
	f, err := fs.Open(context.Background(), st, fs.Options{})
	check(t, err)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		nothingLeft(t, st)
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// show mounts f until the end of the test.
func show(t *testing.T, f *fs.FS) string {
	t.Helper()
	return showWith(t, f, mount.Options{AllowOther: true})
}

func showWith(t *testing.T, f *fs.FS, o mount.Options) string {
	t.Helper()
	dir := t.TempDir()
	m, err := mount.New(f, dir, o)
	check(t, err)
	t.Cleanup(func() {
		if err := m.Unmount(); err != nil {
			t.Error(err)
		}
		m.Wait()
	})
	return dir
}

// nothingLeft wants a tree without contradictions and without files that have no
// name, which the end of the mount should have deleted.
func nothingLeft(t *testing.T, st *store.Store) {
	t.Helper()
	f, err := fs.Open(context.Background(), st, fs.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	report, err := f.Tree().Check(context.Background(), nil)
	if err != nil || len(report.Problems) > 0 || report.Orphans > 0 {
		t.Errorf("check: %+v, %v", report, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestCopyTree copies real files in and compares them.
func TestCopyTree(t *testing.T) {
	dir := mounted(t)
	src := filepath.Join(goroot(t), "src", "crypto")
	run(t, "cp", "-a", src, dir)
	run(t, "diff", "-r", src, filepath.Join(dir, "crypto"))
	run(t, "rm", "-rf", filepath.Join(dir, "crypto"))
}

func goroot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out[:len(out)-1])
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

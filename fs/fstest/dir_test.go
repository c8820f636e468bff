package fstest_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/fs/fstest"
)

// TestPlainDirectory lets the kernel's own filesystem judge the suite.
func TestPlainDirectory(t *testing.T) {
	fstest.Suite{
		New:         func(t *testing.T) fstest.Subject { return fstest.Dir(t.TempDir()) },
		NewAttached: mounted,
	}.Run(t)
}

// mounted is a plain directory on which another filesystem is mounted.
func mounted(t *testing.T) fstest.Subject {
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	if err := errors.Join(os.Mkdir(in, 0o755), os.WriteFile(filepath.Join(in, "hidden"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", in, "tmpfs", 0, "size=16m,mode=1777"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(in, 0); err != nil {
			t.Error(err)
		}
	})
	return fstest.Dir(dir)
}

package mount_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSeekUnsentData asks where the data is that the kernel has not sent yet:
// who copies a file by that must not miss any.
func TestSeekUnsentData(t *testing.T) {
	f, err := os.Create(filepath.Join(mounted(t), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte("x"), 1<<20), 1<<20); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, want int64
		whence     int
	}{{0, 1 << 20, unix.SEEK_DATA}, {1 << 20, 2 << 20, unix.SEEK_HOLE}, {0, 0, unix.SEEK_HOLE}} {
		if got, err := unix.Seek(int(f.Fd()), c.from, c.whence); err != nil || got != c.want {
			t.Errorf("seek from %d, whence %d: %d, %v, want %d", c.from, c.whence, got, err, c.want)
		}
	}
}

// TestTmpfile makes files without names, and gives one a name. That the other goes
// is checked when the mount has gone.
func TestTmpfile(t *testing.T) {
	dir := mounted(t)
	open := func() *os.File {
		t.Helper()
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "tmpfile")
		if _, err := f.WriteString("without a name"); err != nil {
			t.Fatal(err)
		}
		return f
	}
	lost, f := open(), open()
	if err := lost.Close(); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name := filepath.Join(dir, "name")
	if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "without a name" {
		t.Fatalf("%q, %v", b, err)
	}
}

package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/fs"
)

// attachedBoth returns a mount that shows a filesystem of 64 MiB, with one of 8 MiB at
// its directory "deep/in".
func attachedBoth(t *testing.T) (dir string, inner *fs.FS) {
	t.Helper()
	inner, outer := newFS(t, 8<<20), newFS(t, 64<<20)
	check(t, outer.MkdirAll("deep/in", 0o755))
	check(t, outer.Attach("deep/in", inner))
	return show(t, outer), inner
}

// TestAttachedIsOneMount: what programs tell files apart by is told apart, though
// inode numbers of both begin at the same one and there is one device only.
func TestAttachedIsOneMount(t *testing.T) {
	dir, inner := attachedBoth(t)
	in := filepath.Join(dir, "deep", "in")
	seen := map[uint64]string{}
	var device uint64
	for i := range 20 {
		for _, d := range []string{dir, in} {
			name := filepath.Join(d, fmt.Sprint(i))
			check(t, os.WriteFile(name, nil, 0o600))
			var st unix.Stat_t
			check(t, unix.Lstat(name, &st))
			if other, ok := seen[st.Ino]; ok {
				t.Errorf("%s and %s are both inode %d", name, other, st.Ino)
			}
			if device != 0 && st.Dev != device {
				t.Errorf("%s is on device %d, not %d", name, st.Dev, device)
			}
			seen[st.Ino], device = name, st.Dev
		}
	}
	check(t, os.Rename(filepath.Join(dir, "deep"), filepath.Join(dir, "moved")))
	if b, err := os.ReadDir(filepath.Join(dir, "moved", "in")); err != nil || len(b) != 20 {
		t.Errorf("after its parent was moved: %d entries, %v", len(b), err)
	}
	if es, err := inner.ReadDir("/"); err != nil || len(es) != 20 {
		t.Errorf("inside: %d entries, %v", len(es), err)
	}
}

// TestAttachedRoom: each says how much room it has, and is full by itself.
func TestAttachedRoom(t *testing.T) {
	dir, _ := attachedBoth(t)
	in := filepath.Join(dir, "deep", "in")
	size := func(name string) uint64 {
		var s unix.Statfs_t
		check(t, unix.Statfs(name, &s))
		return s.Blocks * uint64(s.Bsize)
	}
	if out, in := size(dir), size(in); out < 48<<20 || in > 8<<20 {
		t.Errorf("%d bytes outside, %d inside", out, in)
	}
	filled := func(dir string) error {
		f, err := os.Create(filepath.Join(dir, "large"))
		check(t, err)
		_, err = f.Write(make([]byte, 16<<20))
		return errors.Join(err, f.Sync(), f.Close())
	}
	if err := filled(in); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("16 MiB inside: %v", err)
	}
	check(t, filled(dir))
}

// TestAttachedCopies: between them files are copied, and not linked.
func TestAttachedCopies(t *testing.T) {
	dir, inner := attachedBoth(t)
	want := bytes.Repeat([]byte("across"), 50_000)
	from, err := os.Create(filepath.Join(dir, "from"))
	check(t, err)
	defer from.Close()
	_, err = from.Write(want)
	check(t, err)
	to, err := os.Create(filepath.Join(dir, "deep", "in", "to"))
	check(t, err)
	defer to.Close()
	var in, out int64
	for in < int64(len(want)) {
		n, err := unix.CopyFileRange(int(from.Fd()), &in, int(to.Fd()), &out, len(want), 0)
		check(t, err)
		if n == 0 {
			t.Fatal("nothing was copied")
		}
	}
	check(t, to.Sync())
	if got, err := inner.ReadFile("to"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes were copied, %v", len(got), err)
	}
	fd, err := unix.Open(filepath.Join(dir, "deep", "in"), unix.O_TMPFILE|unix.O_RDWR, 0o600)
	check(t, err)
	defer unix.Close(fd)
	self := fmt.Sprintf("/proc/self/fd/%d", fd)
	if err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, filepath.Join(dir, "linked"), unix.AT_SYMLINK_FOLLOW); !errors.Is(err, unix.EXDEV) {
		t.Errorf("linked across: %v", err)
	}
	check(t, unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, filepath.Join(dir, "deep", "in", "linked"), unix.AT_SYMLINK_FOLLOW))
}

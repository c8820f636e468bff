package fstest

import (
	"bytes"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/fs"
)

// Dir is a directory of this machine, mounted or plain.
type Dir string

type dirFile struct{ *os.File }

func (f dirFile) Stat() (fs.Attr, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return attrOfStat(st), err
}

func (f dirFile) Allocate(mode uint32, off, size int64) error {
	return unix.Fallocate(int(f.Fd()), mode, off, size)
}

func attrOfStat(st unix.Stat_t) fs.Attr {
	return fs.Attr{
		Ino: fs.Ino(st.Ino), Mode: st.Mode, UID: st.Uid, GID: st.Gid, Links: uint32(st.Nlink), Rdev: uint32(st.Rdev),
		Size: st.Size, Bytes: st.Blocks * 512,
		Atime: time.Unix(st.Atim.Unix()), Mtime: time.Unix(st.Mtim.Unix()), Ctime: time.Unix(st.Ctim.Unix()),
	}
}

// path keeps a slash at the end, which filepath.Join would take.
func (d Dir) path(name string) string { return string(d) + "/" + name }

// Open implements Subject.
func (d Dir) Open(name string, flag int, perm uint32) (File, error) {
	fd, err := unix.Open(d.path(name), flag|unix.O_CLOEXEC, perm)
	if err != nil {
		return nil, err
	}
	return dirFile{os.NewFile(uintptr(fd), d.path(name))}, nil
}

// Mkdir implements Subject.
func (d Dir) Mkdir(name string, perm uint32) error { return unix.Mkdir(d.path(name), perm) }

// Mknod implements Subject.
func (d Dir) Mknod(name string, mode uint32) error { return unix.Mknod(d.path(name), mode, 0) }

// Symlink implements Subject.
func (d Dir) Symlink(target, name string) error { return unix.Symlink(target, d.path(name)) }

// Readlink implements Subject.
func (d Dir) Readlink(name string) (string, error) { return os.Readlink(d.path(name)) }

// Link implements Subject.
func (d Dir) Link(old, new string) error { return unix.Link(d.path(old), d.path(new)) }

// Remove implements Subject.
func (d Dir) Remove(name string) error { return os.Remove(d.path(name)) }

// Rename implements Subject.
func (d Dir) Rename(old, new string, flags uint32) error {
	return unix.Renameat2(unix.AT_FDCWD, d.path(old), unix.AT_FDCWD, d.path(new), uint(flags))
}

// Stat implements Subject.
func (d Dir) Stat(name string) (fs.Attr, error) {
	var st unix.Stat_t
	err := unix.Stat(d.path(name), &st)
	return attrOfStat(st), err
}

// Lstat implements Subject.
func (d Dir) Lstat(name string) (fs.Attr, error) {
	var st unix.Stat_t
	err := unix.Lstat(d.path(name), &st)
	return attrOfStat(st), err
}

// Chmod implements Subject.
func (d Dir) Chmod(name string, mode uint32) error { return unix.Chmod(d.path(name), mode) }

// Lchown implements Subject.
func (d Dir) Lchown(name string, uid, gid int) error { return unix.Lchown(d.path(name), uid, gid) }

// Chtimes implements Subject.
func (d Dir) Chtimes(name string, atime, mtime time.Time) error {
	ts := []unix.Timespec{unix.NsecToTimespec(atime.UnixNano()), unix.NsecToTimespec(mtime.UnixNano())}
	return unix.UtimesNanoAt(unix.AT_FDCWD, d.path(name), ts, 0)
}

// Truncate implements Subject.
func (d Dir) Truncate(name string, size int64) error { return unix.Truncate(d.path(name), size) }

// GetXattr implements Subject.
func (d Dir) GetXattr(name, attr string) ([]byte, error) {
	b := make([]byte, fs.MaxXattr)
	n, err := unix.Lgetxattr(d.path(name), attr, b)
	return b[:max(n, 0)], err
}

// SetXattr implements Subject.
func (d Dir) SetXattr(name, attr string, value []byte, flags uint32) error {
	return unix.Lsetxattr(d.path(name), attr, value, int(flags))
}

// RemoveXattr implements Subject.
func (d Dir) RemoveXattr(name, attr string) error { return unix.Lremovexattr(d.path(name), attr) }

// ListXattr implements Subject.
func (d Dir) ListXattr(name string) (names []string, err error) {
	b := make([]byte, 64<<10)
	n, err := unix.Llistxattr(d.path(name), b)
	for _, s := range bytes.Split(bytes.TrimRight(b[:max(n, 0)], "\x00"), []byte{0}) {
		if len(s) > 0 {
			names = append(names, string(s))
		}
	}
	return names, err
}

// StatFS implements Subject.
func (d Dir) StatFS() (fs.Stat, error) {
	var st unix.Statfs_t
	err := unix.Statfs(string(d), &st)
	return fs.Stat{
		Bytes: int64(st.Blocks) * st.Bsize, FreeBytes: int64(st.Bavail) * st.Bsize,
		Inodes: st.Files, FreeInodes: st.Ffree,
	}, err
}

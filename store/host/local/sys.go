package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

const (
	sysDirectory = unix.O_DIRECTORY
	dirMode      = 0o700
	fileMode     = 0o600

	// lockWait bounds the wait for another process's short lock.
	lockWait = 10 * time.Second
	// lockPollMin and lockPollMax bound the pauses while waiting for it.
	lockPollMin = 50 * time.Microsecond
	lockPollMax = 5 * time.Millisecond
)

// retry repeats do while signals interrupt it.
func retry(do func() error) error {
	for {
		if err := do(); err != unix.EINTR {
			return err
		}
	}
}

// openFile opens a regular file in dir. It follows no link, and cannot hang on
// a pipe.
func openFile(dir *os.File, name string, flags int) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, fileMode)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%q is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openDir opens a directory in dir, and follows no link.
func openDir(dir *os.File, name string) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openList opens a directory in dir, and lists it.
func openList(dir *os.File, name string) (opened *os.File, names []string, err error) {
	if opened, err = openDir(dir, name); err != nil {
		return nil, nil, err
	}
	if names, err = readNames(opened); err != nil {
		opened.Close()
		return nil, nil, err
	}
	return opened, names, nil
}

// exists says whether dir has any entry of that name.
func exists(dir *os.File, name string) bool {
	_, err := statAt(dir, name)
	return err == nil
}

func statAt(dir *os.File, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

func isRegular(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }

func isNotDirectory(err error) bool { return errors.Is(err, unix.ENOTDIR) }

func isNoSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// noSpace marks the lack of room as such.
func noSpace(err error) error {
	if isNoSpace(err) {
		return fmt.Errorf("%w: %w", host.ErrNoSpace, err)
	}
	return err
}

func mkdirAt(dir *os.File, name string) error {
	return retry(func() error { return unix.Mkdirat(int(dir.Fd()), name, dirMode) })
}

func removeAt(dir *os.File, name string, flags int) error {
	return retry(func() error { return unix.Unlinkat(int(dir.Fd()), name, flags) })
}

// renameNew renames, unless the new name is taken: then it fails with EEXIST.
func renameNew(from *os.File, name string, to *os.File, newName string) error {
	err := retry(func() error {
		return unix.Renameat2(int(from.Fd()), name, int(to.Fd()), newName, unix.RENAME_NOREPLACE)
	})
	if err != unix.EINVAL && err != unix.ENOSYS {
		return err
	}
	// A file system without that flag: the fence leaves us alone here.
	if exists(to, newName) {
		return unix.EEXIST
	}
	return renameOver(from, name, to, newName)
}

func renameOver(from *os.File, name string, to *os.File, newName string) error {
	return retry(func() error { return unix.Renameat(int(from.Fd()), name, int(to.Fd()), newName) })
}

// fdatasync makes a file's content durable, but not its times.
func fdatasync(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) {
		failed = retry(func() error { return unix.Fdatasync(int(fd)) })
	}); err != nil {
		return err
	}
	return failed
}

// beginWriting has the kernel begin to write a part of a file to the disk. It says
// nothing about when it is there.
func beginWriting(f *os.File, off, size int64) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) {
		failed = unix.SyncFileRange(int(fd), off, size, unix.SYNC_FILE_RANGE_WRITE)
	}); err != nil {
		return err
	}
	return failed
}

// setAside makes a file at least that large, and takes all the room it needs
// for it. What is in it stays.
func setAside(f *os.File, size int64) error {
	err := retry(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		return extend(f, size)
	}
	return err
}

// extend writes zeros from a file's end, where fallocate is not to be had.
func extend(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for off := info.Size(); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return err
		}
	}
	return nil
}

// tryLock takes a flock if it is free now.
func tryLock(f *os.File, how int) (bool, error) {
	err := retry(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	return err == nil, err
}

// lock takes a flock, waiting for at most lockWait.
func lock(ctx context.Context, f *os.File, how int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait, ErrBusy)
	defer cancel()
	for pause := lockPollMin; ; pause = min(2*pause, lockPollMax) {
		if ok, err := tryLock(f, how); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %q: %w", f.Name(), context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

func unlock(f *os.File) error {
	return retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) })
}

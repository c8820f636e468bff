package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// ErrNoFilesystem: the volume holds no filesystem, or one of another format.
var ErrNoFilesystem = errors.New("no filesystem in the volume")

// Error is an error of the volume together with the number by which programs
// know it.
type Error struct {
	Errno syscall.Errno
	Cause error
}

func (e *Error) Error() string   { return fmt.Sprintf("%v: %v", e.Errno, e.Cause) }
func (e *Error) Unwrap() []error { return []error{e.Errno, e.Cause} }

// Errno is the number by which a mount reports err.
func Errno(err error) syscall.Errno {
	var no syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &no):
		return no
	default:
		return storeErrno(err)
	}
}

func storeErrno(err error) syscall.Errno {
	switch {
	case errors.Is(err, store.ErrFull):
		return syscall.ENOSPC
	case errors.Is(err, store.ErrReadOnly):
		return syscall.EROFS
	case errors.Is(err, store.ErrNoSnapshot):
		return syscall.ESTALE
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return syscall.EINTR
	case errors.Is(err, fs.ErrNotExist):
		return syscall.ENOENT
	case errors.Is(err, fs.ErrClosed):
		return syscall.EBADF
	default:
		return syscall.EIO
	}
}

// wrap gives an error of the store its number, and leaves others alone.
func wrap(err error) error {
	var no syscall.Errno
	if err == nil || errors.As(err, &no) {
		return err
	}
	return &Error{storeErrno(err), err}
}

func damaged(format string, args ...any) error {
	return &Error{syscall.EIO, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), store.ErrDamaged)}
}

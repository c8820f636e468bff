package sqlitevfs

import (
	"errors"
	"io"
	"syscall"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/coffer-fs/coffer/store"
)

// coded gives err the code by which SQLite knows it: that of the operation, unless
// the volume is full, read-only or damaged.
func coded(err error, code sqlite3.ExtendedErrorCode) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case errors.Is(err, syscall.ENOSPC):
		return vfs.SystemError(err, sqlite3.FULL)
	case errors.Is(err, syscall.EROFS):
		return vfs.SystemError(err, sqlite3.READONLY)
	case errors.Is(err, store.ErrDamaged):
		return vfs.SystemError(err, sqlite3.IOERR_CORRUPTFS)
	default:
		return vfs.SystemError(err, code)
	}
}

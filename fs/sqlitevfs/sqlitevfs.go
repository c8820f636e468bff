// Package sqlitevfs lets ncruces/go-sqlite3 keep databases in a filesystem: an
// enclave has SQL in its volume without a mount, and without C.
//
// It promises to SQLite what the filesystem keeps: writes reach the volume in the
// order in which they were made, each whole, a file never grows before its data
// is there, and a sync makes everything before it durable. So SQLite leaves out
// the syncs that only keep its own order.
//
// Any number of connections of one process may use a database in the modes
// DELETE, TRUNCATE and PERSIST. WAL needs PRAGMA locking_mode = EXCLUSIVE first,
// and so one connection: its index would be shared through a file that the host
// sees. Temporary files are files of the volume without a name.
//
// Imported by applications. Its locks are range locks of the files.
package sqlitevfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"syscall"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	cofs "github.com/coffer-fs/coffer/fs"
)

// VFS is a filesystem as SQLite sees it. Its methods may be called at the same
// time.
type VFS struct{ fs *cofs.FS }

var _ vfs.VFS = VFS{}

// New returns a VFS for f, which holds as long as f is open. Most callers want
// Register.
func New(f *cofs.FS) VFS { return VFS{f} }

// Register makes the databases of f known as "file:/path?vfs=name". The caller
// unregisters the name (vfs.Unregister) when it closes f.
func Register(name string, f *cofs.FS) { vfs.Register(name, New(f)) }

// FullPathname implements vfs.VFS. Names are paths from the root; links are
// followed, so that a database has one journal whatever it is called.
func (v VFS) FullPathname(name string) (string, error) {
	full := path.Clean("/" + name)
	for range maxLinks {
		target, err := v.fs.Readlink(full)
		switch {
		case err != nil:
			return full, nil // no link, or not there yet
		case path.IsAbs(target):
			full = path.Clean(target)
		default:
			full = path.Join(path.Dir(full), target)
		}
	}
	return "", vfs.SystemError(syscall.ELOOP, sqlite3.CANTOPEN_SYMLINK)
}

// maxLinks is how many symbolic links are followed, as the kernel has it.
const maxLinks = 40

// journals are opened only by the connection that has the database locked.
const journals = vfs.OPEN_MAIN_JOURNAL | vfs.OPEN_SUPER_JOURNAL | vfs.OPEN_WAL

// Open implements vfs.VFS.
func (v VFS) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if name == "" {
		f, err := v.temporary()
		return f, flags, coded(err, sqlite3.IOERR_GETTEMPPATH)
	}
	f, err := v.fs.OpenFile(name, osFlags(flags), 0o666)
	switch {
	case errors.Is(err, syscall.EISDIR):
		return nil, flags, vfs.SystemError(err, sqlite3.CANTOPEN_ISDIR)
	case errors.Is(err, syscall.EROFS) && flags&vfs.OPEN_READWRITE != 0 && flags&journals == 0:
		// What cannot be written can be read: SQLite looks at what it got.
		flags = flags&^(vfs.OPEN_READWRITE|vfs.OPEN_CREATE) | vfs.OPEN_READONLY
		f, err = v.fs.OpenFile(name, osFlags(flags), 0)
	}
	if err != nil {
		return nil, flags, vfs.SystemError(err, sqlite3.CANTOPEN)
	}
	return newFile(f, v.fs, flags&vfs.OPEN_DELETEONCLOSE != 0), flags, nil
}

// osFlags are SQLite's flags as those of package os.
func osFlags(flags vfs.OpenFlag) int {
	f := os.O_RDONLY | syscall.O_NOFOLLOW
	if flags&vfs.OPEN_READWRITE != 0 {
		f |= os.O_RDWR
	}
	if flags&vfs.OPEN_CREATE != 0 {
		f |= os.O_CREATE
	}
	if flags&vfs.OPEN_EXCLUSIVE != 0 {
		f |= os.O_EXCL
	}
	return f
}

// temporary opens a file that has no name any more. After a crash it is gone.
func (v VFS) temporary() (*file, error) {
	for {
		name := fmt.Sprintf("/.coffer-sqlite-%016x", rand.Uint64())
		f, err := v.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil:
			return nil, err
		}
		if err := v.fs.Remove(name); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return newFile(f, v.fs, false), nil
	}
}

// Delete implements vfs.VFS.
func (v VFS) Delete(name string, syncDir bool) error {
	err := v.fs.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return vfs.SystemError(err, sqlite3.IOERR_DELETE_NOENT)
	}
	if err == nil && syncDir {
		return coded(v.fs.Sync(), sqlite3.IOERR_DIR_FSYNC)
	}
	return coded(err, sqlite3.IOERR_DELETE)
}

// Access implements vfs.VFS. Who has the volume may read and write all of it.
func (v VFS) Access(name string, _ vfs.AccessFlag) (bool, error) {
	_, err := v.fs.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, coded(err, sqlite3.IOERR_ACCESS)
}

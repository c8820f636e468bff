package sqlitevfs

import (
	"errors"
	"io/fs"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	cofs "github.com/coffer-fs/coffer/fs"
)

// file is an open file. SQLite uses it from one goroutine at a time.
type file struct {
	*cofs.File
	fs            *cofs.FS
	deleteOnClose bool
	lock          vfs.LockLevel
	keepWAL       bool
}

var (
	_ vfs.FileLockState  = (*file)(nil)
	_ vfs.FileSizeHint   = (*file)(nil)
	_ vfs.FilePersistWAL = (*file)(nil)
	_ vfs.FileHasMoved   = (*file)(nil)
)

func newFile(f *cofs.File, of *cofs.FS, deleteOnClose bool) *file {
	return &file{File: f, fs: of, deleteOnClose: deleteOnClose}
}

// Close implements vfs.File.
func (f *file) Close() error {
	err := f.File.Close() // gives the locks back
	f.lock = vfs.LOCK_NONE
	if f.deleteOnClose {
		err = errors.Join(err, f.fs.Remove(f.Name()))
	}
	return coded(err, sqlite3.IOERR_CLOSE)
}

// ReadAt implements vfs.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	return n, coded(err, sqlite3.IOERR_READ)
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	return n, coded(err, sqlite3.IOERR_WRITE)
}

// Truncate implements vfs.File.
func (f *file) Truncate(size int64) error {
	return coded(f.File.Truncate(size), sqlite3.IOERR_TRUNCATE)
}

// Sync implements vfs.File: it covers names as well, and all that was done before.
func (f *file) Sync(vfs.SyncFlag) error { return coded(f.File.Sync(), sqlite3.IOERR_FSYNC) }

// Size implements vfs.File.
func (f *file) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, coded(err, sqlite3.IOERR_FSTAT)
	}
	return i.Size(), nil
}

// SizeHint implements vfs.FileSizeHint: the file can grow to size. A full volume
// says so here.
func (f *file) SizeHint(size int64) error {
	have, err := f.Size()
	if err != nil || size <= have {
		return err
	}
	return coded(f.Allocate(0, have, size-have), sqlite3.IOERR_WRITE)
}

// HasMoved implements vfs.FileHasMoved.
func (f *file) HasMoved() (bool, error) {
	now, err := f.fs.Stat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, coded(err, sqlite3.IOERR_FSTAT)
	}
	opened, err := f.Stat()
	if err != nil {
		return false, coded(err, sqlite3.IOERR_FSTAT)
	}
	return now.Sys().(cofs.Attr).Ino != opened.Sys().(cofs.Attr).Ino, nil
}

// PersistWAL implements vfs.FilePersistWAL.
func (f *file) PersistWAL() bool { return f.keepWAL }

// SetPersistWAL implements vfs.FilePersistWAL.
func (f *file) SetPersistWAL(keep bool) { f.keepWAL = keep }

// SectorSize implements vfs.File.
func (f *file) SectorSize() int { return cofs.BlockSize }

// DeviceCharacteristics implements vfs.File. Each is a promise of package fs: a
// write is one operation, operations survive a crash in their order, and a file's
// size comes with its data.
func (f *file) DeviceCharacteristics() vfs.DeviceCharacteristic {
	return vfs.IOCAP_ATOMIC | vfs.IOCAP_SEQUENTIAL | vfs.IOCAP_SAFE_APPEND |
		vfs.IOCAP_POWERSAFE_OVERWRITE | vfs.IOCAP_SUBPAGE_READ
}

package fs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// File is an open file or directory, like os.File. Its methods may be called at
// the same time; those that move the offset take turns.
type File struct {
	tree   *Tree
	mounts *mounts // that entries of a directory may be hidden by
	name   string
	ino    Ino
	dir    bool
	flag   int
	handle *Handle // nil for directories

	closed atomic.Bool

	mu     sync.Mutex // before the locks of the handle
	offset int64
	cookie uint64 // of directories
}

// Name returns the name the file was opened with.
func (f *File) Name() string { return f.name }

func (f *File) check(op string, write bool) error {
	switch {
	case f.closed.Load():
		return pathError(op, f.name, os.ErrClosed)
	case f.handle == nil:
		return pathError(op, f.name, syscall.EISDIR)
	case write && f.flag&(os.O_WRONLY|os.O_RDWR) == 0, !write && f.flag&os.O_WRONLY != 0:
		return pathError(op, f.name, syscall.EBADF)
	}
	return nil
}

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.ReadAt(p, f.offset)
	f.offset += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.handle.ReadAt(context.Background(), p, off)
	if err != nil && err != io.EOF {
		err = pathError("read", f.name, err)
	}
	return n, err
}

// Write implements io.Writer.
func (f *File) Write(p []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if f.flag&os.O_APPEND != 0 {
		n, f.offset, err = f.handle.Append(context.Background(), p)
	} else {
		n, err = f.handle.WriteAt(context.Background(), p, f.offset)
		f.offset += int64(n)
	}
	return n, pathError("write", f.name, err)
}

// WriteString writes a string.
func (f *File) WriteString(s string) (int, error) { return f.Write([]byte(s)) }

// WriteAt implements io.WriterAt. Not for files opened to append.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if f.flag&os.O_APPEND != 0 {
		return 0, pathError("write", f.name, errors.New("WriteAt on a file opened with O_APPEND"))
	}
	n, err := f.handle.WriteAt(context.Background(), p, off)
	return n, pathError("write", f.name, err)
}

// Seek implements io.Seeker, and knows SeekData and SeekHole.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed.Load() {
		return 0, pathError("seek", f.name, os.ErrClosed)
	}
	to, err := f.seek(offset, whence)
	if err == nil && to < 0 {
		err = errInval
	}
	if err != nil {
		return 0, pathError("seek", f.name, err)
	}
	f.offset = to
	return to, nil
}

func (f *File) seek(offset int64, whence int) (int64, error) {
	if f.handle == nil {
		if offset == 0 && whence == io.SeekStart {
			f.cookie = 0 // as rewinddir
			return 0, nil
		}
		return 0, errInval
	}
	switch whence {
	case io.SeekStart:
		return offset, nil
	case io.SeekCurrent:
		return f.offset + offset, nil
	case io.SeekEnd:
		a, err := f.handle.Attr(context.Background())
		return a.Size + offset, err
	default:
		return f.handle.SeekData(context.Background(), offset, whence)
	}
}

// Stat describes the file.
func (f *File) Stat() (fs.FileInfo, error) {
	if f.closed.Load() {
		return nil, pathError("stat", f.name, os.ErrClosed)
	}
	a, err := f.tree.GetAttr(context.Background(), f.ino)
	if err != nil {
		return nil, pathError("stat", f.name, err)
	}
	return newInfo(f.name, a), nil
}

// Truncate sets the size of the file.
func (f *File) Truncate(size int64) error {
	if err := f.check("truncate", true); err != nil {
		return err
	}
	return pathError("truncate", f.name, f.handle.Truncate(context.Background(), size))
}

// Allocate does what fallocate does; see AllocKeepSize.
func (f *File) Allocate(mode uint32, off, size int64) error {
	if err := f.check("allocate", true); err != nil {
		return err
	}
	return pathError("allocate", f.name, f.handle.Allocate(context.Background(), mode, off, size))
}

// Sync makes the file durable, and all that was done before.
func (f *File) Sync() error {
	if f.closed.Load() {
		return pathError("sync", f.name, os.ErrClosed)
	}
	return pathError("sync", f.name, f.tree.Sync(context.Background()))
}

// ReadDir returns the next n entries of a directory, or all that are left if n
// is not positive, as os.File.ReadDir does.
func (f *File) ReadDir(n int) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed.Load():
		return nil, pathError("readdir", f.name, os.ErrClosed)
	case !f.dir:
		return nil, pathError("readdir", f.name, syscall.ENOTDIR)
	}
	var out []fs.DirEntry
	for n <= 0 || len(out) < n {
		limit := readDirBatch
		if n > 0 {
			limit = min(limit, n-len(out))
		}
		es, err := f.tree.ReadDir(context.Background(), f.ino, f.cookie, limit, true)
		if err != nil {
			return out, pathError("readdir", f.name, err)
		}
		for _, e := range es {
			a, err := f.mounts.seen(f.tree, e.Attr)
			if err != nil {
				return out, pathError("readdir", f.name, err)
			}
			out = append(out, fs.FileInfoToDirEntry(info{e.Name, a}))
			f.cookie = e.Next
		}
		if len(es) < limit {
			break
		}
	}
	if n > 0 && len(out) == 0 {
		return nil, io.EOF
	}
	return out, nil
}

// Close closes the file. Its data becomes durable with the next Sync.
func (f *File) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, os.ErrClosed)
	}
	if f.handle == nil {
		return nil
	}
	return f.handle.Close()
}

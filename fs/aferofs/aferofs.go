// Package aferofs is a filesystem for programs that take an afero.Fs.
//
// It translates and nothing else: names, flags and errors are those of package
// os, as afero's own OsFs has them. Names are paths from the root of the
// filesystem, with or without a leading slash.
//
// Imported by applications. Holds no locks.
package aferofs

import (
	"io/fs"
	"os"
	"time"

	"github.com/spf13/afero"

	cofs "github.com/coffer-fs/coffer/fs"
)

// Fs is a filesystem as an afero.Fs, with symbolic links.
type Fs struct{ fs *cofs.FS }

var (
	_ afero.Fs        = Fs{}
	_ afero.Symlinker = Fs{}
)

// New returns f for users of afero. It holds as long as f is open.
func New(f *cofs.FS) Fs { return Fs{f} }

// Name implements afero.Fs.
func (Fs) Name() string { return "coffer" }

// Create implements afero.Fs.
func (f Fs) Create(name string) (afero.File, error) { return opened(f.fs.Create(name)) }

// Open implements afero.Fs.
func (f Fs) Open(name string) (afero.File, error) { return opened(f.fs.Open(name)) }

// OpenFile implements afero.Fs.
func (f Fs) OpenFile(name string, flag int, perm fs.FileMode) (afero.File, error) {
	return opened(f.fs.OpenFile(name, flag, perm))
}

// Mkdir implements afero.Fs.
func (f Fs) Mkdir(name string, perm fs.FileMode) error { return f.fs.Mkdir(name, perm) }

// MkdirAll implements afero.Fs.
func (f Fs) MkdirAll(name string, perm fs.FileMode) error { return f.fs.MkdirAll(name, perm) }

// Remove implements afero.Fs.
func (f Fs) Remove(name string) error { return f.fs.Remove(name) }

// RemoveAll implements afero.Fs.
func (f Fs) RemoveAll(name string) error { return f.fs.RemoveAll(name) }

// Rename implements afero.Fs.
func (f Fs) Rename(oldname, newname string) error { return f.fs.Rename(oldname, newname) }

// Stat implements afero.Fs.
func (f Fs) Stat(name string) (fs.FileInfo, error) { return f.fs.Stat(name) }

// Chmod implements afero.Fs.
func (f Fs) Chmod(name string, mode fs.FileMode) error { return f.fs.Chmod(name, mode) }

// Chown implements afero.Fs.
func (f Fs) Chown(name string, uid, gid int) error { return f.fs.Chown(name, uid, gid) }

// Chtimes implements afero.Fs.
func (f Fs) Chtimes(name string, atime, mtime time.Time) error {
	return f.fs.Chtimes(name, atime, mtime)
}

// LstatIfPossible implements afero.Lstater: it always is.
func (f Fs) LstatIfPossible(name string) (fs.FileInfo, bool, error) {
	i, err := f.fs.Lstat(name)
	return i, true, err
}

// SymlinkIfPossible implements afero.Linker.
func (f Fs) SymlinkIfPossible(target, name string) error { return f.fs.Symlink(target, name) }

// ReadlinkIfPossible implements afero.LinkReader.
func (f Fs) ReadlinkIfPossible(name string) (string, error) { return f.fs.Readlink(name) }

// file has what afero wants of a directory beyond what fs.File does.
type file struct{ *cofs.File }

func opened(f *cofs.File, err error) (afero.File, error) {
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

// Readdir implements afero.File as os.File does.
func (f file) Readdir(count int) ([]os.FileInfo, error) {
	es, err := f.ReadDir(count)
	out := make([]os.FileInfo, 0, len(es))
	for _, e := range es {
		i, err := e.Info() // was read with the entry
		if err != nil {
			return out, err
		}
		out = append(out, i)
	}
	return out, err
}

// Readdirnames implements afero.File as os.File does.
func (f file) Readdirnames(n int) ([]string, error) {
	es, err := f.ReadDir(n)
	out := make([]string, 0, len(es))
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out, err
}

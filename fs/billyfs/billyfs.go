// Package billyfs is a filesystem for programs that take a billy.Filesystem, go-git
// above all: an enclave can keep repositories in its volume.
//
// It promises what billy's own test suite checks: what makes a file makes the
// directories above it, links do not lead out of a Chroot, directories are listed
// by name. Lock and Unlock keep out other open files of this filesystem, which
// nobody else has open.
//
// Imported by applications. Holds no locks of its own.
package billyfs

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/helper/chroot"
	"github.com/go-git/go-billy/v5/util"

	cofs "github.com/coffer-fs/coffer/fs"
)

// New returns f for users of billy. It holds as long as f is open.
func New(f *cofs.FS) billy.Filesystem { return chroot.New(basic{f}, "/") }

// dirMode is the mode of directories that are made on the way.
const dirMode = 0o777

// basic is all of billy.Filesystem but Chroot, which billy brings itself.
type basic struct{ fs *cofs.FS }

var (
	_ billy.Basic    = basic{}
	_ billy.TempFile = basic{}
	_ billy.Dir      = basic{}
	_ billy.Symlink  = basic{}
	_ billy.Change   = basic{}
	_ billy.Capable  = basic{}
)

// Capabilities implements billy.Capable.
func (basic) Capabilities() billy.Capability { return billy.AllCapabilities }

// Join implements billy.Basic.
func (basic) Join(elem ...string) string { return path.Join(elem...) }

// Create implements billy.Basic.
func (b basic) Create(name string) (billy.File, error) {
	return b.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

// Open implements billy.Basic.
func (b basic) Open(name string) (billy.File, error) { return b.OpenFile(name, os.O_RDONLY, 0) }

// OpenFile implements billy.Basic.
func (b basic) OpenFile(name string, flag int, perm fs.FileMode) (billy.File, error) {
	f, err := b.fs.OpenFile(name, flag, perm)
	if flag&os.O_CREATE != 0 && errors.Is(err, fs.ErrNotExist) {
		err = b.above(name, func() (err error) { f, err = b.fs.OpenFile(name, flag, perm); return err })
	}
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

// above makes the directories above name, then calls try.
func (b basic) above(name string, try func() error) error {
	if err := b.fs.MkdirAll(path.Dir(name), dirMode); err != nil {
		return err
	}
	return try()
}

// Stat implements billy.Basic.
func (b basic) Stat(name string) (fs.FileInfo, error) { return b.fs.Stat(name) }

// Rename implements billy.Basic.
func (b basic) Rename(from, to string) error {
	return b.above(to, func() error { return b.fs.Rename(from, to) })
}

// Remove implements billy.Basic.
func (b basic) Remove(name string) error { return b.fs.Remove(name) }

// TempFile implements billy.TempFile.
func (b basic) TempFile(dir, prefix string) (billy.File, error) {
	if err := b.fs.MkdirAll(dir, dirMode); err != nil {
		return nil, err
	}
	return util.TempFile(b, dir, prefix)
}

// ReadDir implements billy.Dir.
func (b basic) ReadDir(name string) ([]fs.FileInfo, error) {
	es, err := b.fs.ReadDir(name)
	if err != nil {
		return nil, err
	}
	out := make([]fs.FileInfo, len(es))
	for i, e := range es {
		if out[i], err = e.Info(); err != nil { // was read with the entry
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b fs.FileInfo) int { return cmp.Compare(a.Name(), b.Name()) })
	return out, nil
}

// MkdirAll implements billy.Dir.
func (b basic) MkdirAll(name string, perm fs.FileMode) error { return b.fs.MkdirAll(name, perm) }

// Lstat implements billy.Symlink.
func (b basic) Lstat(name string) (fs.FileInfo, error) { return b.fs.Lstat(name) }

// Symlink implements billy.Symlink.
func (b basic) Symlink(target, link string) error {
	return b.above(link, func() error { return b.fs.Symlink(target, link) })
}

// Readlink implements billy.Symlink.
func (b basic) Readlink(link string) (string, error) { return b.fs.Readlink(link) }

// Chmod implements billy.Change.
func (b basic) Chmod(name string, mode fs.FileMode) error { return b.fs.Chmod(name, mode) }

// Chown implements billy.Change.
func (b basic) Chown(name string, uid, gid int) error { return b.fs.Chown(name, uid, gid) }

// Lchown implements billy.Change.
func (b basic) Lchown(name string, uid, gid int) error { return b.fs.Lchown(name, uid, gid) }

// Chtimes implements billy.Change.
func (b basic) Chtimes(name string, atime, mtime time.Time) error {
	return b.fs.Chtimes(name, atime, mtime)
}

// file is an open file with locks on the whole of it.
type file struct{ *cofs.File }

// Lock implements billy.File, and waits.
func (f file) Lock() error { return f.File.Lock(context.Background(), cofs.Range{}, true) }

// Unlock implements billy.File.
func (f file) Unlock() error { return f.File.Unlock(cofs.Range{}) }

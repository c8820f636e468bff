package fstest

import (
	"context"
	"errors"
	iofs "io/fs"
	"syscall"
	"time"

	"github.com/coffer-fs/coffer/fs"
)

// API is a filesystem by its Go API.
func API(f *fs.FS) Subject { return api{f} }

type api struct{ f *fs.FS }

type apiFile struct{ *fs.File }

func (f apiFile) Stat() (fs.Attr, error) { return attrOf(f.File.Stat()) }

func attrOf(i iofs.FileInfo, err error) (fs.Attr, error) {
	if err != nil {
		return fs.Attr{}, err
	}
	return i.Sys().(fs.Attr), nil
}

func fileMode(mode uint32) iofs.FileMode {
	return fs.Attr{Mode: mode&0o7777 | syscall.S_IFREG}.FileMode()
}

func (a api) Open(name string, flag int, perm uint32) (File, error) {
	f, err := a.f.OpenFile(name, flag, fileMode(perm))
	if err != nil {
		return nil, err
	}
	return apiFile{f}, nil
}

func (a api) Mkdir(name string, perm uint32) error       { return a.f.Mkdir(name, fileMode(perm)) }
func (a api) Mknod(name string, mode uint32) error       { return a.f.Mknod(name, mode, 0) }
func (a api) Symlink(target, name string) error          { return a.f.Symlink(target, name) }
func (a api) Readlink(name string) (string, error)       { return a.f.Readlink(name) }
func (a api) Link(old, new string) error                 { return a.f.Link(old, new) }
func (a api) Remove(name string) error                   { return a.f.Remove(name) }
func (a api) Rename(old, new string, flags uint32) error { return a.f.RenameWith(old, new, flags) }
func (a api) Stat(name string) (fs.Attr, error)          { return attrOf(a.f.Stat(name)) }
func (a api) Lstat(name string) (fs.Attr, error)         { return attrOf(a.f.Lstat(name)) }
func (a api) Chmod(name string, mode uint32) error       { return a.f.Chmod(name, fileMode(mode)) }
func (a api) Lchown(name string, uid, gid int) error     { return a.f.Lchown(name, uid, gid) }
func (a api) Truncate(name string, size int64) error     { return a.f.Truncate(name, size) }
func (a api) ListXattr(name string) ([]string, error)    { return a.f.ListXattr(name) }
func (a api) RemoveXattr(name, attr string) error        { return a.f.RemoveXattr(name, attr) }
func (a api) GetXattr(name, attr string) ([]byte, error) { return a.f.GetXattr(name, attr) }
func (a api) StatFS() (fs.Stat, error)                   { return a.f.Tree().StatFS(context.Background()) }

func (a api) SetXattr(name, attr string, value []byte, flags uint32) error {
	return a.f.SetXattr(name, attr, value, flags)
}

func (a api) Chtimes(name string, atime, mtime time.Time) error {
	if atime.IsZero() || mtime.IsZero() {
		return errors.New("fstest: zero time")
	}
	return a.f.Chtimes(name, atime, mtime)
}

// Package iofs shows a filesystem through the interfaces of package io/fs, for
// readers that take those: templates, http.FileServerFS, fs.WalkDir.
//
// It promises what testing/fstest checks, and refuses names that are not valid in
// the sense of fs.ValidPath. It only reads. Like os.DirFS it follows symbolic
// links, also those that lead out of the directory given to Sub: it is a view, not
// a jail.
//
// Imported by applications. Holds no locks.
package iofs

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"slices"

	cofs "github.com/coffer-fs/coffer/fs"
)

// FS is a view of a filesystem, or of a directory of it. Its methods may be
// called at the same time.
type FS struct {
	fs  *cofs.FS
	dir string
}

var (
	_ fs.ReadDirFS  = FS{}
	_ fs.ReadFileFS = FS{}
	_ fs.StatFS     = FS{}
	_ fs.SubFS      = FS{}
	_ fs.ReadLinkFS = FS{}
)

// New returns a view of f. It holds as long as f is open.
func New(f *cofs.FS) FS { return FS{f, "/"} }

// at turns a name of package io/fs into a path of the filesystem.
func (f FS) at(op, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return path.Join(f.dir, name), nil
}

// Open implements fs.FS. What it returns for a regular file is also an
// io.Seeker and an io.ReaderAt, for a directory an fs.ReadDirFile.
func (f FS) Open(name string) (fs.File, error) {
	p, err := f.at("open", name)
	if err != nil {
		return nil, err
	}
	file, err := f.fs.Open(p)
	if err != nil {
		return nil, named(name, err)
	}
	return file, nil
}

// ReadDir implements fs.ReadDirFS: the entries are in the order of their names.
func (f FS) ReadDir(name string) ([]fs.DirEntry, error) {
	p, err := f.at("readdir", name)
	if err != nil {
		return nil, err
	}
	es, err := f.fs.ReadDir(p)
	slices.SortFunc(es, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return es, named(name, err)
}

// ReadFile implements fs.ReadFileFS.
func (f FS) ReadFile(name string) ([]byte, error) {
	p, err := f.at("readfile", name)
	if err != nil {
		return nil, err
	}
	b, err := f.fs.ReadFile(p)
	return b, named(name, err)
}

// Stat implements fs.StatFS.
func (f FS) Stat(name string) (fs.FileInfo, error) {
	p, err := f.at("stat", name)
	if err != nil {
		return nil, err
	}
	i, err := f.fs.Stat(p)
	return i, named(name, err)
}

// Lstat implements fs.ReadLinkFS.
func (f FS) Lstat(name string) (fs.FileInfo, error) {
	p, err := f.at("lstat", name)
	if err != nil {
		return nil, err
	}
	i, err := f.fs.Lstat(p)
	return i, named(name, err)
}

// ReadLink implements fs.ReadLinkFS.
func (f FS) ReadLink(name string) (string, error) {
	p, err := f.at("readlink", name)
	if err != nil {
		return "", err
	}
	target, err := f.fs.Readlink(p)
	return target, named(name, err)
}

// Sub implements fs.SubFS. Whether there is such a directory shows when it is
// used.
func (f FS) Sub(dir string) (fs.FS, error) {
	p, err := f.at("sub", dir)
	if err != nil {
		return nil, err
	}
	return FS{f.fs, p}, nil
}

// named makes an error speak of the name that the caller gave.
func named(name string, err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return &fs.PathError{Op: e.Op, Path: name, Err: e.Err}
	}
	return err
}

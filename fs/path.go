package fs

import (
	"context"
	"io/fs"
	"strings"
	"syscall"
)

// maxSymlinks is how many symbolic links one path may lead through.
const maxSymlinks = 40

// resolve follows a path from the root. Paths are separated by slashes; an empty
// one is the root. A last symbolic link is followed only if follow is set.
func (f *Tree) resolve(ctx context.Context, path string, follow bool) (Attr, error) {
	w := &walk{f: f, ctx: ctx}
	a, err := f.GetAttr(ctx, RootIno)
	if err != nil {
		return a, err
	}
	return w.from(a, path, follow)
}

// walk is one resolution of a path.
type walk struct {
	f     *Tree
	ctx   context.Context
	links int
}

func (w *walk) from(at Attr, path string, follow bool) (Attr, error) {
	for path != "" {
		var name string
		name, path, _ = strings.Cut(path, "/")
		if name == "" {
			continue
		}
		next, err := w.f.Lookup(w.ctx, at.Ino, name)
		if err != nil {
			return next, err
		}
		last := strings.Trim(path, "/") == ""
		if next.Type() == syscall.S_IFLNK && (!last || follow || path != "") {
			if next, err = w.link(at, next.Ino); err != nil {
				return next, err
			}
		}
		at = next
		if path != "" && !at.IsDir() {
			return at, syscall.ENOTDIR
		}
	}
	return at, nil
}

// link follows a symbolic link that stands in directory dir.
func (w *walk) link(dir Attr, i Ino) (Attr, error) {
	if w.links++; w.links > maxSymlinks {
		return Attr{}, syscall.ELOOP
	}
	target, err := w.f.ReadLink(w.ctx, i)
	if err != nil {
		return Attr{}, err
	}
	if strings.HasPrefix(target, "/") {
		if dir, err = w.f.GetAttr(w.ctx, RootIno); err != nil {
			return dir, err
		}
	}
	return w.from(dir, target, true)
}

// parent resolves the directory that a path's last name stands in.
func (f *Tree) parent(ctx context.Context, path string) (dir Ino, name string, err error) {
	path = strings.TrimRight(path, "/")
	if path == "" {
		return 0, "", syscall.EBUSY // the root
	}
	head, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		head, name = path[:i], path[i+1:]
	}
	a, err := f.resolve(ctx, head, true)
	if err == nil && !a.IsDir() {
		err = syscall.ENOTDIR
	}
	return a.Ino, name, err
}

// pathError gives an error the form that package os gives it.
func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: wrap(err)}
}

package fs

import (
	"context"
	"io/fs"
	"os"
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
		name, rest, slash := strings.Cut(path, "/")
		path = rest
		if name == "" {
			continue
		}
		next, err := w.f.Lookup(w.ctx, at.Ino, name)
		if err != nil {
			return next, err
		}
		// What stands before a slash must be a directory, and is followed to one.
		if next.Type() == syscall.S_IFLNK && (slash || follow) {
			if next, err = w.link(at, next.Ino); err != nil {
				return next, err
			}
		}
		at = next
		if slash && !at.IsDir() {
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

// linkParent resolves the directory that the last name of a link's target stands
// in.
func (w *walk) linkParent(dir, link Ino) (place, error) {
	if w.links++; w.links > maxSymlinks {
		return place{}, syscall.ELOOP
	}
	target, err := w.f.ReadLink(w.ctx, link)
	if err != nil {
		return place{}, err
	}
	if strings.HasPrefix(target, "/") {
		dir = RootIno
	}
	at, err := w.f.GetAttr(w.ctx, dir)
	if err != nil {
		return place{}, err
	}
	return w.parent(at, target)
}

// place is where a path's last name stands.
type place struct {
	dir  Ino
	name string
	// slash: it can only be, or become, the name of a directory.
	slash bool
}

// parent resolves the directory that a path's last name stands in. EBUSY for
// the root.
func (f *Tree) parent(ctx context.Context, path string) (place, error) {
	root, err := f.GetAttr(ctx, RootIno)
	if err != nil {
		return place{}, err
	}
	return (&walk{f: f, ctx: ctx}).parent(root, path)
}

// parent is Tree.parent for a path that starts at a directory.
func (w *walk) parent(at Attr, path string) (place, error) {
	trimmed := strings.TrimRight(path, "/")
	p := place{name: trimmed, slash: trimmed != path}
	if trimmed == "" {
		return p, syscall.EBUSY
	}
	if i := strings.LastIndexByte(trimmed, '/'); i >= 0 {
		p.name = trimmed[i+1:]
		var err error
		if at, err = w.from(at, trimmed[:i+1], true); err != nil {
			return p, err
		}
	}
	p.dir = at.Ino
	return p, nil
}

// at resolves a path and calls fn with what is there; again if it was replaced
// before fn came to it. fn gives ENOENT only if the file is gone.
func (f *Tree) at(ctx context.Context, path string, follow bool, fn func(Attr) error) error {
	for {
		a, err := f.resolve(ctx, path, follow)
		if err != nil {
			return err
		}
		if err = fn(a); err == nil || Errno(err) != syscall.ENOENT {
			return err
		}
	}
}

// linkError is pathError for what has two paths.
func linkError(op, old, new string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: old, New: new, Err: err}
}

// pathError gives an error the form that package os gives it.
func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

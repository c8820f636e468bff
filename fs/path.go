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

// node is a file that a path led to.
type node struct {
	tree *Tree
	Attr
}

func nodeOf(ctx context.Context, t *Tree, i Ino) (node, error) {
	a, err := t.GetAttr(ctx, i)
	return node{t, a}, err
}

// resolve follows a path from the root. Paths are separated by slashes; an empty
// one is the root. A last symbolic link is followed only if follow is set.
func (f *FS) resolve(ctx context.Context, path string, follow bool) (node, error) {
	w := &walk{f: f, ctx: ctx}
	root, err := nodeOf(ctx, f.tree, RootIno)
	if err != nil {
		return root, err
	}
	return w.from(root, path, follow)
}

// walk is one resolution of a path.
type walk struct {
	f     *FS
	ctx   context.Context
	links int
}

func (w *walk) from(at node, path string, follow bool) (node, error) {
	for path != "" {
		name, rest, slash := strings.Cut(path, "/")
		path = rest
		if name == "" {
			continue
		}
		next, err := w.step(at, name)
		if err != nil {
			return next, err
		}
		// What stands before a slash must be a directory, and is followed to one.
		if next.Type() == syscall.S_IFLNK && (slash || follow) {
			if next, err = w.link(at, next); err != nil {
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

// step goes from a directory to what has a name in it, into and out of attached
// filesystems.
func (w *walk) step(at node, name string) (node, error) {
	if name == ".." {
		if above, ok := w.f.attached.above(at.tree, at.Ino); ok {
			at.tree, at.Ino = above.tree, above.ino
		}
	}
	a, err := at.tree.Lookup(w.ctx, at.Ino, name)
	if err != nil {
		return node{at.tree, a}, err
	}
	if t := w.f.attached.at(at.tree, a.Ino); t != nil {
		return nodeOf(w.ctx, t, RootIno)
	}
	return node{at.tree, a}, nil
}

// link follows a symbolic link that stands in directory dir.
func (w *walk) link(dir, link node) (node, error) {
	dir, target, err := w.target(dir, link)
	if err != nil {
		return node{}, err
	}
	return w.from(dir, target, true)
}

// target reads a symbolic link that stands in directory dir, and returns from
// where its target is to be followed.
func (w *walk) target(dir, link node) (from node, target string, err error) {
	if w.links++; w.links > maxSymlinks {
		return node{}, "", syscall.ELOOP
	}
	target, err = link.tree.ReadLink(w.ctx, link.Ino)
	if err == nil && strings.HasPrefix(target, "/") {
		dir, err = nodeOf(w.ctx, w.f.tree, RootIno)
	}
	return dir, target, err
}

// linkParent resolves the directory that the last name of a link's target stands
// in.
func (w *walk) linkParent(p place, link Ino) (place, error) {
	dir, err := nodeOf(w.ctx, p.tree, p.dir)
	if err != nil {
		return place{}, err
	}
	from, target, err := w.target(dir, node{p.tree, Attr{Ino: link}})
	if err != nil {
		return place{}, err
	}
	return w.parent(from, target)
}

// place is where a path's last name stands.
type place struct {
	tree *Tree
	dir  Ino
	name string
	// slash: it can only be, or become, the name of a directory.
	slash bool
}

// parent resolves the directory that a path's last name stands in. EBUSY for
// the root.
func (f *FS) parent(ctx context.Context, path string) (place, error) {
	root, err := nodeOf(ctx, f.tree, RootIno)
	if err != nil {
		return place{}, err
	}
	return (&walk{f: f, ctx: ctx}).parent(root, path)
}

// parent is FS.parent for a path that starts at a directory.
func (w *walk) parent(at node, path string) (place, error) {
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
	p.tree, p.dir = at.tree, at.Ino
	return p, nil
}

// at resolves a path and calls fn with what is there; again if it was replaced
// before fn came to it. fn gives ENOENT only if the file is gone.
func (f *FS) at(ctx context.Context, path string, follow bool, fn func(node) error) error {
	for {
		n, err := f.resolve(ctx, path, follow)
		if err != nil {
			return err
		}
		if err = fn(n); err == nil || Errno(err) != syscall.ENOENT {
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

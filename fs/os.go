package fs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// The calls of this file take paths, and are those of package os: the same
// names, the same flags, *fs.PathError around the same numbers. Paths are
// relative to the root of the filesystem, with or without a leading slash.

// FS is an open filesystem. Its methods may be called at the same time.
type FS struct {
	tree     *Tree
	attached mounts
}

// Tree gives the filesystem at the level of inodes.
func (f *FS) Tree() *Tree { return f.tree }

// Sync makes everything that was done before durable. An error is final: the
// filesystem has become read-only.
func (f *FS) Sync() error { return f.tree.Sync(context.Background()) }

// Close syncs and lets go of the volume, which stays open.
func (f *FS) Close() error { return f.tree.Close() }

// ReadDir returns the entries of a directory, in the order of their creation.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.ReadDir(-1)
}

// OpenFile opens a file with the flags of package os.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (*File, error) {
	file, err := f.openFile(context.Background(), name, flag, perm)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return file, nil
}

func (f *FS) openFile(ctx context.Context, name string, flag int, perm fs.FileMode) (*File, error) {
	exclusive := flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0
	for range maxOpenTries {
		a, err := f.resolve(ctx, name, flag&syscall.O_NOFOLLOW == 0 && !exclusive)
		switch {
		case err == nil && exclusive:
			return nil, syscall.EEXIST
		case errors.Is(err, syscall.ENOENT) && flag&os.O_CREATE != 0:
			a, err = f.create(ctx, name, perm, flag)
		}
		if err != nil {
			return nil, err
		}
		file, err := f.openNode(ctx, name, a, flag)
		if !errors.Is(err, syscall.ENOENT) {
			return file, err
		}
		// Replaced or removed just now: look again.
	}
	return nil, damaged("%q is there, and no file that it names", name)
}

// maxOpenTries bounds how often a file is looked for that was replaced or removed in
// the moment between: more often than that it was never there.
const maxOpenTries = 1000

// openNamed opens a file that still has a name once it is open: one that lost its last
// name before may be about to be deleted by whoever took it. ENOENT.
func openNamed(ctx context.Context, n node) (*Handle, error) {
	h, err := n.tree.OpenInode(ctx, n.Ino)
	if err != nil {
		return nil, err
	}
	a, err := h.Attr(ctx)
	if err == nil && a.Links == 0 {
		err = syscall.ENOENT
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (f *FS) openNode(ctx context.Context, name string, a node, flag int) (*File, error) {
	writes := flag&(os.O_WRONLY|os.O_RDWR) != 0
	file := &File{tree: a.tree, mounts: &f.attached, name: name, ino: a.Ino, dir: a.IsDir(), flag: flag}
	switch {
	case a.IsDir() && (writes || flag&os.O_CREATE != 0):
		return nil, syscall.EISDIR
	case a.IsDir():
		return file, nil
	case flag&syscall.O_DIRECTORY != 0:
		return nil, syscall.ENOTDIR
	case a.Type() == syscall.S_IFLNK:
		return nil, syscall.ELOOP
	case a.Type() != syscall.S_IFREG:
		return nil, syscall.ENXIO // only a kernel can
	case writes && a.tree.options.ReadOnly:
		return nil, syscall.EROFS
	}
	h, err := openNamed(ctx, a)
	if err != nil {
		return nil, err
	}
	if flag&os.O_TRUNC != 0 && writes {
		if err := h.Truncate(ctx, 0); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	file.handle = h
	return file, nil
}

// create makes a regular file, following a symbolic link that leads nowhere
// yet, unless the flags forbid it.
func (f *FS) create(ctx context.Context, name string, perm fs.FileMode, flag int) (node, error) {
	p, err := f.parent(ctx, name)
	w := &walk{f: f, ctx: ctx}
	for range maxOpenTries {
		switch {
		case err != nil:
			return node{}, err
		case p.slash:
			return node{}, syscall.EISDIR
		}
		a, err2 := p.tree.Make(ctx, p.dir, p.name, NewNode{Mode: syscall.S_IFREG | unixMode(perm)})
		if !errors.Is(err2, syscall.EEXIST) || flag&os.O_EXCL != 0 {
			return node{p.tree, a}, err2
		}
		link, err2 := p.tree.Lookup(ctx, p.dir, p.name)
		if errors.Is(err2, syscall.ENOENT) {
			continue // removed just now
		}
		if err2 != nil || link.Type() != syscall.S_IFLNK {
			return node{p.tree, link}, err2 // made just now
		}
		if flag&syscall.O_NOFOLLOW != 0 {
			return node{}, syscall.ELOOP
		}
		p, err = w.linkParent(p, link.Ino)
	}
	return node{}, damaged("%q is there, and no file that it names", name)
}

// Open opens a file or a directory for reading.
func (f *FS) Open(name string) (*File, error) { return f.OpenFile(name, os.O_RDONLY, 0) }

// Create makes or truncates a file and opens it for reading and writing.
func (f *FS) Create(name string) (*File, error) {
	return f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

func (f *FS) mk(op, name string, node NewNode) error {
	ctx := context.Background()
	p, err := f.parent(ctx, name)
	switch {
	case errors.Is(err, syscall.EBUSY):
		err = syscall.EEXIST
	case err == nil && p.slash && node.Mode&syscall.S_IFMT != syscall.S_IFDIR:
		err = f.noDir(ctx, p)
	case err == nil:
		_, err = p.tree.Make(ctx, p.dir, p.name, node)
	}
	return pathError(op, name, err)
}

// noDir is why nothing but a directory can be made at a name with a slash.
func (f *FS) noDir(ctx context.Context, p place) error {
	if _, err := p.tree.Lookup(ctx, p.dir, p.name); err != nil {
		return err
	}
	return syscall.EEXIST
}

// Mknod makes a file of any type, with mode and device as in struct stat.
func (f *FS) Mknod(name string, mode, rdev uint32) error {
	return f.mk("mknod", name, NewNode{Mode: mode, Rdev: rdev})
}

// Mkdir makes a directory.
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	return f.mk("mkdir", name, NewNode{Mode: syscall.S_IFDIR | unixMode(perm)})
}

// MkdirAll makes a directory and those above it that are missing.
func (f *FS) MkdirAll(name string, perm fs.FileMode) error {
	a, err := f.resolve(context.Background(), name, true)
	if err == nil {
		if !a.IsDir() {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		return nil
	}
	trimmed := strings.TrimRight(name, "/")
	if i := strings.LastIndexByte(trimmed, '/'); i > 0 {
		if err := f.MkdirAll(trimmed[:i], perm); err != nil {
			return err
		}
	}
	err = f.Mkdir(name, perm)
	if errors.Is(err, syscall.EEXIST) {
		if a, err := f.resolve(context.Background(), name, true); err == nil && a.IsDir() {
			return nil
		}
	}
	return err
}

// Symlink makes a symbolic link.
func (f *FS) Symlink(target, name string) error {
	if target == "" {
		return pathError("symlink", name, syscall.ENOENT)
	}
	return f.mk("symlink", name, NewNode{Mode: syscall.S_IFLNK | 0o777, Target: target})
}

// Readlink returns the target of a symbolic link.
func (f *FS) Readlink(name string) (target string, err error) {
	ctx := context.Background()
	err = f.at(ctx, name, false, func(n node) (err error) {
		target, err = n.tree.ReadLink(ctx, n.Ino)
		return err
	})
	return target, pathError("readlink", name, err)
}

// Link gives a file one more name.
func (f *FS) Link(oldname, newname string) error {
	ctx := context.Background()
	a, err := f.resolve(ctx, oldname, false)
	if err != nil {
		return linkError("link", oldname, newname, err)
	}
	p, err := f.parent(ctx, newname)
	switch {
	case errors.Is(err, syscall.EBUSY):
		err = syscall.EEXIST
	case err == nil && p.slash:
		err = f.noDir(ctx, p)
	case err == nil && p.tree != a.tree:
		err = syscall.EXDEV
	case err == nil:
		_, err = p.tree.Link(ctx, a.Ino, p.dir, p.name)
	}
	return linkError("link", oldname, newname, err)
}

// Remove removes a file or an empty directory.
func (f *FS) Remove(name string) error {
	ctx := context.Background()
	p, err := f.parent(ctx, name)
	if err == nil {
		err = f.remove(ctx, p)
	}
	return pathError("remove", name, err)
}

func (f *FS) remove(ctx context.Context, p place) error {
	if err := f.busy(ctx, p); err != nil {
		return err
	}
	if p.slash || p.name == "." || p.name == ".." {
		return p.tree.Rmdir(ctx, p.dir, p.name)
	}
	err := p.tree.Unlink(ctx, p.dir, p.name)
	if errors.Is(err, syscall.EISDIR) {
		err = p.tree.Rmdir(ctx, p.dir, p.name)
	}
	return err
}

// RemoveAll removes a file or a directory with all that is in it. It is no error
// if there is none.
func (f *FS) RemoveAll(name string) error {
	ctx := context.Background()
	p, err := f.parent(ctx, name)
	switch {
	case err == nil && (p.name == "." || p.name == ".."):
		err = errInval
	case err == nil:
		err = f.removeAll(ctx, p)
	}
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return pathError("removeall", name, err)
}

func (f *FS) removeAll(ctx context.Context, p place) error {
	if err := f.busy(ctx, p); err != nil {
		return err
	}
	err := p.tree.Unlink(ctx, p.dir, p.name)
	if !errors.Is(err, syscall.EISDIR) {
		return err
	}
	a, err := p.tree.Lookup(ctx, p.dir, p.name)
	if err != nil {
		return err
	}
	for {
		es, err := p.tree.ReadDir(ctx, a.Ino, 0, readDirBatch, false)
		if err != nil {
			return err
		}
		if len(es) == 0 {
			return p.tree.Rmdir(ctx, p.dir, p.name)
		}
		for _, e := range es {
			err := f.removeAll(ctx, place{tree: p.tree, dir: a.Ino, name: e.Name})
			if err != nil && !errors.Is(err, syscall.ENOENT) {
				return err
			}
		}
	}
}

// readDirBatch is how many entries of a directory are read at once.
const readDirBatch = 512

// Rename gives a file another name, taking that from whoever has it.
func (f *FS) Rename(oldname, newname string) error { return f.RenameWith(oldname, newname, 0) }

// RenameWith is Rename with the flags of renameat2: see RenameNoReplace.
func (f *FS) RenameWith(oldname, newname string, flags uint32) error {
	ctx := context.Background()
	from, err := f.parent(ctx, oldname)
	if err != nil {
		return linkError("rename", oldname, newname, err)
	}
	to, err := f.parent(ctx, newname)
	if err == nil {
		err = f.rename(ctx, from, to, flags)
	}
	return linkError("rename", oldname, newname, err)
}

func (f *FS) rename(ctx context.Context, from, to place, flags uint32) error {
	if from.slash || to.slash {
		if err := mustBeDir(ctx, from); err != nil {
			return err
		}
	}
	switch {
	case from.tree != to.tree:
		return syscall.EXDEV
	case f.busy(ctx, from) != nil, f.busy(ctx, to) != nil:
		return syscall.EBUSY
	}
	return from.tree.Rename(ctx, from.dir, from.name, to.dir, to.name, flags)
}

func mustBeDir(ctx context.Context, p place) error {
	a, err := p.tree.Lookup(ctx, p.dir, p.name)
	if err == nil && !a.IsDir() {
		err = syscall.ENOTDIR
	}
	return err
}

// Stat describes a file, following symbolic links.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name, true) }

// Lstat describes a file, or a symbolic link itself.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name, false) }

func (f *FS) stat(op, name string, follow bool) (fs.FileInfo, error) {
	a, err := f.resolve(context.Background(), name, follow)
	if err != nil {
		return nil, pathError(op, name, err)
	}
	return newInfo(name, a.Attr), nil
}

func (f *FS) set(op, name string, follow bool, s SetAttr) error {
	ctx := context.Background()
	err := f.at(ctx, name, follow, func(n node) error {
		_, err := n.tree.SetAttr(ctx, n.Ino, s)
		return err
	})
	return pathError(op, name, err)
}

// Chmod changes permissions.
func (f *FS) Chmod(name string, mode fs.FileMode) error {
	m := unixMode(mode)
	return f.set("chmod", name, true, SetAttr{Mode: &m})
}

// Chown changes owner and group; -1 leaves one alone.
func (f *FS) Chown(name string, uid, gid int) error { return f.chown("chown", name, uid, gid, true) }

// Lchown is Chown that does not follow a symbolic link.
func (f *FS) Lchown(name string, uid, gid int) error { return f.chown("lchown", name, uid, gid, false) }

func (f *FS) chown(op, name string, uid, gid int, follow bool) error {
	s := SetAttr{KillPriv: true}
	if uid >= 0 {
		u := uint32(uid)
		s.UID = &u
	}
	if gid >= 0 {
		g := uint32(gid)
		s.GID = &g
	}
	return f.set(op, name, follow, s)
}

// Chtimes changes access and modification time; a zero time leaves one alone.
func (f *FS) Chtimes(name string, atime, mtime time.Time) error {
	var s SetAttr
	if !atime.IsZero() {
		s.Atime = &atime
	}
	if !mtime.IsZero() {
		s.Mtime = &mtime
	}
	return f.set("chtimes", name, true, s)
}

// Truncate sets the size of a file.
func (f *FS) Truncate(name string, size int64) error {
	return f.set("truncate", name, true, SetAttr{Size: &size})
}

// ReadFile returns the contents of a file.
func (f *FS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, info.Size()+1)
	for {
		n, err := file.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
}

// WriteFile makes or truncates a file and writes data to it.
func (f *FS) WriteFile(name string, data []byte, perm fs.FileMode) error {
	file, err := f.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

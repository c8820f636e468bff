package fs

import (
	"context"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// NewNode describes a file to be made.
type NewNode struct {
	Mode uint32 // type and permissions, as in struct stat
	UID  uint32
	GID  uint32
	Rdev uint32 // of device nodes
	// Target of a symbolic link.
	Target string
}

// Make makes a file of any type. EEXIST, ENOTDIR, ENOENT, EMLINK, ENOSPC.
func (f *Tree) Make(ctx context.Context, dir Ino, name string, node NewNode) (Attr, error) {
	if err := checkNewName(name); err != nil {
		return Attr{}, err
	}
	if _, ok := knownTypes[node.Mode&syscall.S_IFMT]; !ok {
		return Attr{}, errInval
	}
	if len(node.Target) > MaxTarget {
		return Attr{}, syscall.ENAMETOOLONG
	}
	var a Attr
	err := f.update(ctx, func(tx *store.Tx) (err error) {
		a, err = f.make(tx, dir, name, node)
		return err
	})
	return a, err
}

func (f *Tree) make(tx *store.Tx, dir Ino, name string, node NewNode) (Attr, error) {
	d, err := getDir(tx, dir)
	if err != nil {
		return Attr{}, err
	}
	if d.links == 0 {
		return Attr{}, syscall.ENOENT // removed, and somebody is still in it
	}
	if _, there, err := f.find(tx, dir, name); err != nil || there {
		return Attr{}, firstErr(err, syscall.EEXIST)
	}
	i, err := f.newIno(tx)
	if err != nil {
		return Attr{}, err
	}
	n := newInode(node, dir, d)
	if n.isDir() {
		if d.links >= MaxLinks {
			return Attr{}, syscall.EMLINK
		}
		d.links++
	}
	if err := f.addEntry(tx, dir, &d, name, i, n.kind()); err != nil {
		return Attr{}, err
	}
	if n.mode&syscall.S_IFMT == syscall.S_IFLNK {
		if err := putInline(tx, i, []byte(node.Target)); err != nil {
			return Attr{}, err
		}
	}
	return n.attr(i), putInode(tx, i, n)
}

// newInode is the inode of a new file in directory d.
func newInode(node NewNode, dir Ino, d inode) inode {
	t := now()
	n := inode{
		mode: node.Mode, uid: node.UID, gid: node.GID, links: 1, rdev: node.Rdev,
		atime: t, mtime: t, ctime: t, btime: t,
	}
	if d.mode&syscall.S_ISGID != 0 { // what is made in it belongs to its group
		n.gid = d.gid
		if n.isDir() {
			n.mode |= syscall.S_ISGID
		}
	}
	switch n.mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		n.links, n.parent, n.nextIndex = 2, dir, 1
	case syscall.S_IFLNK:
		n.size = int64(len(node.Target))
		n.bytes = n.size
	}
	return n
}

// newIno takes the next inode number. ENOSPC where Options.MaxInodes is
// reached.
func (f *Tree) newIno(tx *store.Tx) (Ino, error) {
	s, err := getSuper(tx)
	if err != nil {
		return 0, err
	}
	if f.options.MaxInodes > 0 && s.inodes >= f.options.MaxInodes {
		return 0, syscall.ENOSPC
	}
	i := s.nextIno
	s.nextIno++
	s.inodes++
	return i, tx.Put(superKey, s.encode())
}

// Link gives a file one more name. EPERM for directories, EEXIST, EMLINK.
func (f *Tree) Link(ctx context.Context, i, dir Ino, name string) (Attr, error) {
	if err := checkNewName(name); err != nil {
		return Attr{}, err
	}
	var a Attr
	err := f.update(ctx, func(tx *store.Tx) error {
		n, err := getInode(tx, i)
		if err != nil {
			return err
		}
		d, err := getDir(tx, dir)
		switch {
		case err != nil:
			return err
		case n.isDir():
			return syscall.EPERM
		case n.links == 0 || d.links == 0:
			return syscall.ENOENT
		case n.links >= MaxLinks:
			return syscall.EMLINK
		}
		n.links++
		n.ctime = now()
		if err := f.addEntry(tx, dir, &d, name, i, n.kind()); err != nil {
			return err
		}
		a = n.attr(i)
		return putInode(tx, i, n)
	})
	if err == nil {
		f.overlay(&a)
	}
	return a, err
}

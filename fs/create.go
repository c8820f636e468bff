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
	// Umask is taken from Mode, unless the directory has a default access
	// control list.
	Umask uint32
	// Target of a symbolic link.
	Target string
}

// Make makes a file of any type. EEXIST, ENOTDIR, ENOENT, EMLINK, ENOSPC.
func (f *Tree) Make(ctx context.Context, dir Ino, name string, node NewNode) (Attr, error) {
	return f.makeBy(ctx, f.update, dir, name, node)
}

// makeAnyway is Make that may use the reserve which a full volume keeps.
func (f *Tree) makeAnyway(ctx context.Context, dir Ino, name string, node NewNode) (Attr, error) {
	return f.makeBy(ctx, f.updateFreeing, dir, name, node)
}

func (f *Tree) makeBy(ctx context.Context, update func(context.Context, func(*store.Tx) error) error, dir Ino, name string, node NewNode) (Attr, error) {
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
	err := update(ctx, func(tx *store.Tx) (err error) {
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
	if n.mode&syscall.S_IFMT != syscall.S_IFLNK {
		if err := f.inheritACL(tx, dir, i, &n, node.Umask); err != nil {
			return Attr{}, err
		}
	}
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

// MakeUnnamed makes a regular file without a name, as O_TMPFILE does, which goes
// when the handle is closed unless Link gave it one. It belongs where a file in
// dir would.
func (f *Tree) MakeUnnamed(ctx context.Context, dir Ino, node NewNode) (*Handle, Attr, error) {
	if node.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, Attr{}, errInval
	}
	var a Attr
	err := f.update(ctx, func(tx *store.Tx) error {
		d, err := getDir(tx, dir)
		if err != nil {
			return err
		}
		i, err := f.newIno(tx)
		if err != nil {
			return err
		}
		n := newInode(node, dir, d)
		if err := f.inheritACL(tx, dir, i, &n, node.Umask); err != nil {
			return err
		}
		n.links = 0
		a = n.attr(i)
		return markOrphan(tx, i, n)
	})
	if err != nil {
		return nil, Attr{}, err
	}
	h, err := f.OpenInode(ctx, a.Ino)
	if err != nil {
		return nil, Attr{}, err
	}
	f.setOrphan(h.h, true)
	return h, a, nil
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
	if s.nextIno > store.MaxObject {
		return 0, syscall.ENOSPC // numbers are never used again
	}
	i := s.nextIno
	s.nextIno++
	s.inodes++
	return i, tx.Put(superKey, s.encode())
}

// Link gives a file one more name, or the first one to what MakeUnnamed made.
// EPERM for directories, EEXIST, EMLINK.
func (f *Tree) Link(ctx context.Context, i, dir Ino, name string) (Attr, error) {
	if err := checkNewName(name); err != nil {
		return Attr{}, err
	}
	h := f.hold(i) // or it might go meanwhile, if it has no name yet
	defer f.drop(ctx, h)
	if f.isOrphan(h) {
		if err := f.keepTimes(ctx, h); err != nil {
			return Attr{}, wrap(err)
		}
	}
	var a Attr
	err := f.update(ctx, func(tx *store.Tx) (err error) {
		a, err = f.link(tx, i, dir, name)
		return err
	})
	if err != nil {
		return a, err
	}
	if a.Links == 1 {
		f.named(ctx, h)
	}
	f.overlay(&a)
	return a, nil
}

// named keeps a file that was given its first name, if it still has one.
func (f *Tree) named(ctx context.Context, h *file) {
	f.setOrphan(h, false)
	if a, err := f.GetAttr(ctx, h.ino); err == nil && a.Links == 0 {
		f.setOrphan(h, true)
		return
	}
	_ = f.keepTimes(ctx, h) // those set meanwhile; what fails here fails everybody's next change
}

// keepTimes has the times flushed that were set while the file had no name.
func (f *Tree) keepTimes(ctx context.Context, h *file) error {
	if err := f.admit(ctx, fileCost); err != nil {
		return err
	}
	defer f.admitted(fileCost)
	h.mu.Lock()
	defer h.mu.Unlock()
	f.note(h)
	return nil
}

func (f *Tree) link(tx *store.Tx, i, dir Ino, name string) (Attr, error) {
	n, err := getInode(tx, i)
	if err != nil {
		return Attr{}, err
	}
	d, err := getDir(tx, dir)
	switch {
	case err != nil:
		return Attr{}, err
	case n.isDir():
		return Attr{}, syscall.EPERM
	case d.links == 0:
		return Attr{}, syscall.ENOENT
	case n.links >= MaxLinks:
		return Attr{}, syscall.EMLINK
	}
	if n.links == 0 {
		if err := tx.Delete(orphanKey(i)); err != nil {
			return Attr{}, err
		}
	}
	n.links++
	n.ctime = now()
	if err := f.addEntry(tx, dir, &d, name, i, n.kind()); err != nil {
		return Attr{}, err
	}
	return n.attr(i), putInode(tx, i, n)
}

package fs

import (
	"context"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// Flags of Rename, as renameat2 has them.
const (
	RenameNoReplace = 1 << 0
	RenameExchange  = 1 << 1
)

// Rename gives a file another name, taking that from whoever has it. It is one
// operation: there is no moment at which neither name is there.
func (f *Tree) Rename(ctx context.Context, dir Ino, name string, newDir Ino, newName string, flags uint32) error {
	for _, n := range []string{name, newName} {
		if err := checkName(n); err != nil {
			return err
		}
		if n == "." || n == ".." {
			return syscall.EBUSY
		}
	}
	if flags&^(RenameNoReplace|RenameExchange) != 0 || flags == RenameNoReplace|RenameExchange {
		return errInval
	}
	r := &renaming{f: f, dir: dir, name: name, newDir: newDir, newName: newName, flags: flags}
	// A full volume must let a file be replaced: that is how programs save.
	err := f.updateFreeing(ctx, r.do)
	if err == nil && r.orphan {
		f.unnamed(ctx, r.replaced)
	}
	return err
}

type renaming struct {
	f              *Tree
	dir, newDir    Ino
	name, newName  string
	flags          uint32
	from, to       *inode // the directories; one and the same if dir is newDir
	source         Ino
	sourceNode     inode
	replaced       Ino
	replacedNode   inode
	exists, orphan bool
}

func (r *renaming) do(tx *store.Tx) error {
	r.orphan = false
	if err := r.look(tx); err != nil {
		return err
	}
	if r.exists && r.source == r.replaced {
		if r.flags&RenameNoReplace != 0 {
			return syscall.EEXIST
		}
		return nil // two names of one file: POSIX has nothing happen
	}
	if err := r.allowed(tx); err != nil {
		return err
	}
	switch {
	case r.flags&RenameExchange != 0:
		return r.exchange(tx)
	case r.exists:
		return r.replace(tx)
	}
	return r.move(tx)
}

// look reads both directories and both inodes.
func (r *renaming) look(tx *store.Tx) error {
	from, err := getDir(tx, r.dir)
	if err != nil {
		return err
	}
	r.from, r.to = &from, &from
	if r.newDir != r.dir {
		to, err := getDir(tx, r.newDir)
		if err != nil {
			return err
		}
		r.to = &to
	}
	if r.to.links == 0 {
		return syscall.ENOENT
	}
	if r.source, r.sourceNode, r.exists, err = r.lookup(tx, r.dir, r.name); err != nil {
		return err
	}
	if !r.exists {
		return syscall.ENOENT
	}
	r.replaced, r.replacedNode, r.exists, err = r.lookup(tx, r.newDir, r.newName)
	return err
}

func (r *renaming) lookup(tx *store.Tx, dir Ino, name string) (Ino, inode, bool, error) {
	e, ok, err := r.f.find(tx, dir, name)
	if err != nil || !ok {
		return 0, inode{}, false, err
	}
	n, err := getInode(tx, e.ino)
	return e.ino, n, true, err
}

// allowed applies the rules.
func (r *renaming) allowed(tx *store.Tx) error {
	exchange := r.flags&RenameExchange != 0
	switch {
	case exchange && !r.exists:
		return syscall.ENOENT
	case r.flags&RenameNoReplace != 0 && r.exists:
		return syscall.EEXIST
	case r.exists && !exchange && r.sourceNode.isDir() && !r.replacedNode.isDir():
		return syscall.ENOTDIR
	case r.exists && !exchange && !r.sourceNode.isDir() && r.replacedNode.isDir():
		return syscall.EISDIR
	case r.exists && !exchange && r.replacedNode.isDir() && r.replacedNode.size > 0:
		return syscall.ENOTEMPTY
	}
	if r.dir == r.newDir {
		return nil
	}
	if r.sourceNode.isDir() {
		if err := r.notBelow(tx, r.newDir, r.source); err != nil {
			return err
		}
		if !r.exists && r.to.links >= MaxLinks {
			return syscall.EMLINK
		}
	}
	if exchange && r.replacedNode.isDir() {
		return r.notBelow(tx, r.dir, r.replaced)
	}
	return nil
}

// notBelow refuses a directory that lies in another one, or is it.
func (r *renaming) notBelow(tx *store.Tx, dir, other Ino) error {
	for depth := 0; dir != RootIno; depth++ {
		if dir == other {
			return errInval
		}
		n, err := getDir(tx, dir)
		if err != nil {
			return err
		}
		if n.parent == dir || depth > maxDepth {
			return damaged("inode %d: its parents do not lead to the root", dir)
		}
		dir = n.parent
	}
	return nil
}

// maxDepth is more than any path has: a bound for walks that damage could make
// endless.
const maxDepth = 1 << 20

// move takes the old name and gives the new one.
func (r *renaming) move(tx *store.Tx) error {
	if err := r.f.removeEntry(tx, r.dir, r.from, r.name); err != nil {
		return err
	}
	if err := r.f.addEntry(tx, r.newDir, r.to, r.newName, r.source, r.sourceNode.kind()); err != nil {
		return err
	}
	return r.arrive(tx, r.source, &r.sourceNode, r.dir, r.from, r.newDir, r.to)
}

// replace lets the new name mean the source, and forgets what it meant.
func (r *renaming) replace(tx *store.Tx) error {
	if err := r.f.removeEntry(tx, r.dir, r.from, r.name); err != nil {
		return err
	}
	if err := r.f.replaceEntry(tx, r.newDir, r.to, r.newName, r.source, r.sourceNode.kind()); err != nil {
		return err
	}
	if r.replacedNode.isDir() {
		r.to.links--
		if err := putInode(tx, r.newDir, *r.to); err != nil {
			return err
		}
	}
	var err error
	if r.orphan, err = r.f.unlinkInode(tx, r.replaced, r.replacedNode); err != nil {
		return err
	}
	return r.arrive(tx, r.source, &r.sourceNode, r.dir, r.from, r.newDir, r.to)
}

// exchange swaps what two names mean.
func (r *renaming) exchange(tx *store.Tx) error {
	if err := r.f.replaceEntry(tx, r.dir, r.from, r.name, r.replaced, r.replacedNode.kind()); err != nil {
		return err
	}
	if err := r.f.replaceEntry(tx, r.newDir, r.to, r.newName, r.source, r.sourceNode.kind()); err != nil {
		return err
	}
	if err := r.arrive(tx, r.source, &r.sourceNode, r.dir, r.from, r.newDir, r.to); err != nil {
		return err
	}
	return r.arrive(tx, r.replaced, &r.replacedNode, r.newDir, r.to, r.dir, r.from)
}

// arrive stores an inode that came from one directory to another, and the link
// that a directory's parent counts for it.
func (r *renaming) arrive(tx *store.Tx, i Ino, n *inode, from Ino, fromNode *inode, to Ino, toNode *inode) error {
	n.ctime = now()
	if n.isDir() && from != to {
		n.parent = to
		fromNode.links--
		toNode.links++
		if err := putInode(tx, from, *fromNode); err != nil {
			return err
		}
		if err := putInode(tx, to, *toNode); err != nil {
			return err
		}
	}
	return putInode(tx, i, *n)
}

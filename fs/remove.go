package fs

import (
	"context"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// Unlink takes a name from a file that is no directory. Without names the file
// goes when nobody has it open any more. EISDIR, ENOENT.
func (f *Tree) Unlink(ctx context.Context, dir Ino, name string) error {
	return f.remove(ctx, dir, name, func(n inode) error {
		if n.isDir() {
			return syscall.EISDIR
		}
		return nil
	})
}

// Rmdir removes an empty directory. ENOTDIR, ENOTEMPTY, ENOENT.
func (f *Tree) Rmdir(ctx context.Context, dir Ino, name string) error {
	switch name {
	case ".":
		return errInval
	case "..":
		return syscall.ENOTEMPTY
	}
	return f.remove(ctx, dir, name, func(n inode) error {
		if !n.isDir() {
			return syscall.ENOTDIR
		}
		if n.size > 0 {
			return syscall.ENOTEMPTY
		}
		return nil
	})
}

func (f *Tree) remove(ctx context.Context, dir Ino, name string, may func(inode) error) error {
	if err := checkName(name); err != nil {
		return err
	}
	var i Ino
	var orphan bool
	err := f.updateFreeing(ctx, func(tx *store.Tx) error {
		d, err := getDir(tx, dir)
		if err != nil {
			return err
		}
		e, ok, err := f.find(tx, dir, name)
		if err != nil {
			return err
		}
		if !ok {
			return syscall.ENOENT
		}
		n, err := getInode(tx, e.ino)
		if err != nil {
			return damaged("entry of inode %d, which is missing: %v", e.ino, err)
		}
		if err := may(n); err != nil {
			return err
		}
		i = e.ino
		if n.isDir() {
			d.links--
		}
		if err := f.removeEntry(tx, dir, &d, name); err != nil {
			return err
		}
		orphan, err = f.unlinkInode(tx, i, n)
		return err
	})
	if err == nil && orphan {
		f.unnamed(ctx, i)
	}
	return err
}

// unlinkInode takes one name from an inode, which it stores or forgets. An empty
// directory has only one.
func (f *Tree) unlinkInode(tx *store.Tx, i Ino, n inode) (orphan bool, err error) {
	if n.isDir() || n.links <= 1 {
		return f.forget(tx, i, n)
	}
	n.links--
	n.ctime = now()
	return false, putInode(tx, i, n)
}

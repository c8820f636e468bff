package fs_test

import (
	"fmt"
	"syscall"

	"github.com/coffer-fs/coffer/fs"
)

func (p *player) link() error {
	oldPath, n := p.pickAny()
	dir, path, name, there := p.pick()
	want := syscall.Errno(0)
	switch {
	case n.isDir():
		want = syscall.EPERM
	case there != nil:
		want = syscall.EEXIST
	}
	p.what = "link " + oldPath + " " + path
	if done, err := p.same(p.f.Link(oldPath, path), want); !done {
		return err
	}
	dir.names[name] = n
	n.links++
	p.touch(dir, "mc")
	p.touch(n, "c")
	return nil
}

func (p *player) unlink() error {
	dir, path, name, n := p.pick()
	want := syscall.Errno(0)
	switch {
	case n == nil:
		want = syscall.ENOENT
	case n.isDir():
		return nil
	}
	p.what = "unlink " + path
	if done, err := p.same(p.f.Remove(path), want); !done {
		return err
	}
	p.takeName(dir, name)
	return nil
}

// takeName is what becomes of a file that loses a name.
func (p *player) takeName(dir *node, name string) {
	n := dir.names[name]
	delete(dir.names, name)
	p.touch(dir, "mc")
	n.links--
	if n.isDir() {
		dir.links--
		return
	}
	if n.links > 0 {
		p.touch(n, "c")
	}
}

func (p *player) rmdir() error {
	dir, path, name, n := p.pick()
	want := syscall.Errno(0)
	switch {
	case n == nil:
		want = syscall.ENOENT
	case !n.isDir():
		return nil
	case len(n.names) > 0:
		want = syscall.ENOTEMPTY
	}
	p.what = "rmdir " + path
	if done, err := p.same(p.f.Remove(path), want); !done {
		return err
	}
	p.takeName(dir, name)
	return nil
}

// below reports whether n is dir or lies in it.
func (n *node) below(dir *node) bool {
	for ; ; n = n.parent {
		if n == dir {
			return true
		}
		if n.parent == n {
			return false
		}
	}
}

func (p *player) rename() error {
	dir, path, name, n := p.pick()
	toDir, toPath, toName, old := p.pick()
	flags := []uint32{0, 0, 0, fs.RenameNoReplace, fs.RenameExchange}[p.r.IntN(5)]
	p.what = fmt.Sprintf("rename %s %s, flags %d", path, toPath, flags)
	want := renameErrno(n, toDir, old, dir, flags)
	if done, err := p.same(p.f.RenameWith(path, toPath, flags), want); !done || n == old {
		return err
	}
	p.touch(dir, "mc")
	p.touch(toDir, "mc")
	p.touch(n, "c")
	if flags == fs.RenameExchange {
		p.place(dir, name, toDir, old)
		p.touch(old, "c")
	} else {
		delete(dir.names, name)
		if old != nil {
			p.takeName(toDir, toName)
		}
	}
	p.place(toDir, toName, dir, n)
	return nil
}

// place gives n, which comes from another directory, a name in dir.
func (p *player) place(dir *node, name string, from, n *node) {
	dir.names[name] = n
	if n.isDir() {
		n.parent = dir
		from.links--
		dir.links++
	}
}

// renameErrno is what must come of renaming n, which stands in dir, to the name
// of old in toDir. Where several errors apply, as package fs has it.
func renameErrno(n, toDir, old, dir *node, flags uint32) syscall.Errno {
	exchange := flags == fs.RenameExchange
	switch {
	case n == nil:
		return syscall.ENOENT
	case n == old && flags == fs.RenameNoReplace:
		return syscall.EEXIST
	case n == old:
		return 0
	case exchange && old == nil:
		return syscall.ENOENT
	case flags == fs.RenameNoReplace && old != nil:
		return syscall.EEXIST
	case old != nil && !exchange && n.isDir() && !old.isDir():
		return syscall.ENOTDIR
	case old != nil && !exchange && !n.isDir() && old.isDir():
		return syscall.EISDIR
	case old != nil && !exchange && old.isDir() && len(old.names) > 0:
		return syscall.ENOTEMPTY
	case n.isDir() && toDir.below(n):
		return syscall.EINVAL
	case exchange && old.isDir() && dir.below(old):
		return syscall.EINVAL
	}
	return 0
}

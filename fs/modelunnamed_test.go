package fs_test

import (
	"fmt"
	"path"
	"slices"
	"syscall"

	"github.com/coffer-fs/coffer/fs"
)

// unnamedFile is one that has no name yet, as O_TMPFILE makes it.
type unnamedFile struct {
	handle *fs.Handle
	node   *node
}

func (p *player) unnamed() int {
	if p.unnamedToo {
		return 3
	}
	return 0
}

func (p *player) inoOf(path string) (fs.Ino, error) {
	info, err := p.f.Lstat(path)
	if err != nil {
		return 0, err
	}
	return info.Sys().(fs.Attr).Ino, nil
}

func (p *player) makeUnnamed() error {
	dir, at, _, _ := p.pick()
	if len(p.nameless) > 2 {
		return nil
	}
	p.what = "make without a name in " + path.Dir(at)
	ino, err := p.inoOf(path.Dir(at))
	if err != nil {
		return err
	}
	h, _, err := p.f.Tree().MakeUnnamed(bg, ino, fs.NewNode{Mode: syscall.S_IFREG | 0o600})
	done, err := p.same(err, 0)
	if !done {
		return err
	}
	n := newNode(syscall.S_IFREG | 0o600)
	n.links = 0
	if dir.mode&syscall.S_ISGID != 0 {
		n.gid = dir.gid
	}
	p.nameless = append(p.nameless, unnamedFile{h, n})
	return nil
}

func (p *player) withUnnamed(what string, fn func(i int, u unnamedFile) error) error {
	if len(p.nameless) == 0 {
		return nil
	}
	i := p.r.IntN(len(p.nameless))
	p.what = what + " a file without a name"
	return fn(i, p.nameless[i])
}

func (p *player) writeUnnamed() error {
	return p.withUnnamed("write", func(_ int, u unnamedFile) error {
		b, off := p.bytes(p.size()), p.size()
		p.what += fmt.Sprintf(", %d at %d", len(b), off)
		_, err := u.handle.WriteAt(bg, b, int64(off))
		if done, err := p.same(err, 0); !done || len(b) == 0 {
			return err
		}
		p.put(u.node, off, b)
		return nil
	})
}

// linkUnnamed gives one a name.
func (p *player) linkUnnamed() error {
	return p.withUnnamed("link", func(i int, u unnamedFile) error {
		dir, at, name, there := p.pick()
		p.what += " as " + at
		ino, err := p.inoOf(path.Dir(at))
		if err != nil {
			return err
		}
		want := syscall.Errno(0)
		if there != nil {
			want = syscall.EEXIST
		}
		_, err = p.f.Tree().Link(bg, u.handle.Ino(), ino, name)
		if done, err := p.same(err, want); !done {
			return err
		}
		dir.names[name] = u.node
		u.node.links = 1
		p.touch(dir, "mc")
		p.touch(u.node, "amc") // it was never looked at before
		p.nameless = slices.Delete(p.nameless, i, i+1)
		return p.learnOne(at, u)
	})
}

// learnOne takes the times of a file that has just got its name as they are.
func (p *player) learnOne(at string, u unnamedFile) error {
	delete(p.touched, u.node)
	info, err := p.f.Lstat(at)
	if err != nil {
		return err
	}
	a := info.Sys().(fs.Attr)
	u.node.atime, u.node.mtime, u.node.ctime = nanos(a.Atime), nanos(a.Mtime), nanos(a.Ctime)
	return u.handle.Close()
}

func (p *player) closeUnnamed() error {
	return p.withUnnamed("close", func(i int, u unnamedFile) error {
		p.nameless = slices.Delete(p.nameless, i, i+1)
		return u.handle.Close()
	})
}

package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/coffer-fs/coffer/fs"
)

// player does the same to a filesystem and to a model. It is used by one
// goroutine.
type player struct {
	r    *rand.Rand
	f    *fs.FS
	m    *model
	open []openFile

	unnamedToo bool // files are made without a name
	nameless   []unnamedFile

	streams int  // how often stream comes
	full    bool // ENOSPC may come at any time
	lack    int  // how often it came

	what string // the present operation, for messages
	// Of the present operation: whose times it may change, by path if they have
	// one, and which of them it must.
	touched map[*node]string
	paths   map[*node]string
}

// openFile is a file that is kept open, maybe without a name.
type openFile struct {
	file *fs.File
	node *node
}

var errModel = errors.New("not as the model has it")

// step makes one random operation. It returns errModel if the outcome is wrong,
// and other errors that no operation should have.
func (p *player) step() error {
	ops := []struct {
		weight int
		op     func() error
	}{
		{8, p.create}, {4, p.mkdir}, {2, p.symlink}, {1, p.mkfifo},
		{14, p.write}, {5, p.append}, {5, p.truncate}, {4, p.punch}, {4, p.read},
		{8, p.rename}, {4, p.link}, {6, p.unlink}, {3, p.rmdir},
		{2, p.chmod}, {2, p.chown}, {3, p.chtimes}, {4, p.setxattr}, {2, p.removexattr},
		{p.streams, p.stream}, {3, p.keepOpen}, {3, p.writeOpen}, {3, p.readOpen}, {2, p.closeOpen},
		{p.unnamed(), p.makeUnnamed}, {p.unnamed(), p.writeUnnamed}, {p.unnamed(), p.linkUnnamed}, {p.unnamed() / 3, p.closeUnnamed},
	}
	sum := 0
	for _, o := range ops {
		sum += o.weight
	}
	at := p.r.IntN(sum)
	for _, o := range ops {
		if at -= o.weight; at < 0 {
			p.touched = map[*node]string{}
			return p.timed(o.op)
		}
	}
	return nil
}

// timed runs an operation, and checks and learns the times it set.
func (p *player) timed(op func() error) error {
	before := time.Now().UnixNano()
	if err := op(); err != nil {
		return fmt.Errorf("%s: %w", p.what, err)
	}
	after := time.Now().UnixNano()
	if len(p.touched) == 0 {
		return nil
	}
	p.paths = p.allPaths()
	for n, must := range p.touched {
		path, ok := p.paths[n]
		if !ok {
			continue
		}
		info, err := p.f.Lstat(path)
		if err != nil {
			return fmt.Errorf("%s: %w", p.what, err)
		}
		a := info.Sys().(fs.Attr)
		for i, t := range []struct {
			is  time.Time
			was *int64
		}{{a.Atime, &n.atime}, {a.Mtime, &n.mtime}, {a.Ctime, &n.ctime}} {
			now, which := t.is.UnixNano(), byte("amc"[i])
			set := now >= before && now <= after
			if !set && (now != *t.was || bytes.IndexByte([]byte(must), which) >= 0) {
				return fmt.Errorf("%s: %w: %ctime of %q is %d, was %d, and the time %d..%d", p.what, errModel, which, path, now, *t.was, before, after)
			}
			*t.was = now
		}
	}
	return nil
}

func (p *player) allPaths() map[*node]string {
	paths := map[*node]string{}
	p.m.walk(func(path string, n *node) { paths[n] = path })
	return paths
}

// touch notes that the times of n may change, and that those in must do.
func (p *player) touch(n *node, must string) { p.touched[n] += must }

// same compares outcomes. It reports whether the model must change.
func (p *player) same(err error, want syscall.Errno) (done bool, _ error) {
	got := fs.Errno(err)
	switch {
	case got == 0 && want == 0:
		return true, nil
	case got == syscall.ENOSPC && p.full:
		p.lack++
		return false, nil
	case got != want && (got == syscall.EIO || got == syscall.EROFS):
		return false, err // the machine died
	case got != want:
		return false, fmt.Errorf("%w: %v, want %v", errModel, err, want)
	}
	return false, nil
}

// pick returns a random directory, a name in it, and what has the name.
func (p *player) pick() (dir *node, path, name string, n *node) {
	var dirs []*node
	var paths []string
	p.m.walk(func(path string, n *node) {
		if n.isDir() {
			dirs, paths = append(dirs, n), append(paths, path)
		}
	})
	i := p.r.IntN(len(dirs))
	dir = dirs[i]
	name = string(rune('a' + p.r.IntN(8)))
	if p.r.IntN(20) == 0 {
		name = string(bytes.Repeat([]byte(name), 255))
	}
	return dir, paths[i] + "/" + name, name, dir.names[name]
}

// pickFile prefers a regular file that exists.
func (p *player) pickFile() (path string, n *node) {
	var nodes []*node
	var paths []string
	p.m.walk(func(path string, n *node) {
		if n.isReg() {
			nodes, paths = append(nodes, n), append(paths, path)
		}
	})
	if len(nodes) == 0 {
		_, path, _, _ := p.pick()
		return path, nil
	}
	i := p.r.IntN(len(nodes))
	return paths[i], nodes[i]
}

// pickAny returns any file.
func (p *player) pickAny() (path string, n *node) {
	count := 0
	p.m.walk(func(at string, x *node) {
		if count++; p.r.IntN(count) == 0 {
			path, n = at, x
		}
	})
	return path, n
}

func (p *player) bytes(n int) []byte {
	b := make([]byte, n)
	seed := p.r.Uint64()
	for i := range b {
		b[i] = byte(seed>>(8*(i&7))) + byte(i>>8)
	}
	return b
}

// size of a write or an offset: all orders of magnitude, and edges.
func (p *player) size() int {
	n := p.r.IntN(1 << (1 + p.r.IntN(17)))
	switch p.r.IntN(4) {
	case 0:
		n = n &^ 4095
	case 1:
		n = n&^4095 + p.r.IntN(3)
	}
	return n
}

func (p *player) make(dir *node, name string, n *node, there *node, err error) error {
	want := syscall.Errno(0)
	if there != nil {
		want = syscall.EEXIST
	}
	done, err := p.same(err, want)
	if !done {
		return err
	}
	dir.names[name] = n
	if dir.mode&syscall.S_ISGID != 0 {
		n.gid = dir.gid
	}
	if n.isDir() {
		n.mode |= dir.mode & syscall.S_ISGID
		n.parent = dir
		dir.links++
	}
	p.touch(dir, "mc")
	p.touch(n, "amc")
	return nil
}

func (p *player) create() error {
	dir, path, name, there := p.pick()
	p.what = "create " + path
	f, err := p.f.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err == nil {
		err = f.Close()
	}
	return p.make(dir, name, newNode(syscall.S_IFREG|0o640), there, err)
}

func (p *player) mkdir() error {
	dir, path, name, there := p.pick()
	if len(path) > 2000 {
		return nil
	}
	p.what = "mkdir " + path
	return p.make(dir, name, newNode(syscall.S_IFDIR|0o750), there, p.f.Mkdir(path, 0o750))
}

func (p *player) symlink() error {
	dir, path, name, there := p.pick()
	n := newNode(syscall.S_IFLNK | 0o777)
	n.target = string(bytes.Repeat([]byte("t"), 1+p.r.IntN(4095)))
	p.what = "symlink " + path
	return p.make(dir, name, n, there, p.f.Symlink(n.target, path))
}

func (p *player) mkfifo() error {
	dir, path, name, there := p.pick()
	p.what = "mkfifo " + path
	return p.make(dir, name, newNode(syscall.S_IFIFO|0o600), there, p.f.Mknod(path, syscall.S_IFIFO|0o600, 0))
}

// withFile opens a regular file for the time of fn.
func (p *player) withFile(what string, flag int, fn func(f *fs.File, n *node) error) error {
	path, n := p.pickFile()
	if n == nil {
		return nil
	}
	p.what = what + " " + path
	f, err := p.f.OpenFile(path, flag, 0)
	if err != nil {
		return err
	}
	return errors.Join(fn(f, n), f.Close())
}

func (p *player) write() error { return p.withFile("write", os.O_RDWR, p.writeTo) }

func (p *player) writeTo(f *fs.File, n *node) error {
	b, off := p.bytes(p.size()), p.size()
	p.what += fmt.Sprintf(" %d at %d", len(b), off)
	_, err := f.WriteAt(b, int64(off))
	if done, err := p.same(err, 0); !done || len(b) == 0 {
		return err
	}
	p.put(n, off, b)
	return nil
}

func (p *player) put(n *node, off int, b []byte) {
	data := make([]byte, max(len(n.data), off+len(b)))
	copy(data, n.data)
	copy(data[off:], b)
	n.data = data
	p.touch(n, "mc")
}

func (p *player) append() error { return p.appendBytes(p.size()) }

// stream appends so much that the volume can't keep it in memory.
func (p *player) stream() error { return p.appendBytes(32<<10 + p.r.IntN(1<<20)) }

func (p *player) appendBytes(size int) error {
	return p.withFile("append", os.O_WRONLY|os.O_APPEND, func(f *fs.File, n *node) error {
		b := p.bytes(size)
		p.what += fmt.Sprintf(" %d", len(b))
		_, err := f.Write(b)
		if done, err := p.same(err, 0); !done || len(b) == 0 {
			return err
		}
		p.put(n, len(n.data), b)
		return nil
	})
}

func (p *player) truncate() error {
	return p.withFile("truncate", os.O_RDWR, func(f *fs.File, n *node) error {
		size := p.size()
		p.what += fmt.Sprintf(" to %d", size)
		if done, err := p.same(f.Truncate(int64(size)), 0); !done {
			return err
		}
		data := make([]byte, size)
		copy(data, n.data)
		n.data = data
		p.touch(n, "mc")
		return nil
	})
}

func (p *player) punch() error {
	return p.withFile("punch", os.O_RDWR, func(f *fs.File, n *node) error {
		off, size := p.size(), 1+p.size()
		mode := uint32(fs.AllocPunchHole | fs.AllocKeepSize)
		if p.r.IntN(3) == 0 {
			mode = fs.AllocZeroRange
		}
		p.what += fmt.Sprintf(" %#x, %d at %d", mode, size, off)
		if done, err := p.same(f.Allocate(mode, int64(off), int64(size)), 0); !done {
			p.touch(n, "")
			return err
		}
		length := len(n.data)
		if mode == fs.AllocZeroRange {
			length = max(length, off+size)
		}
		data := make([]byte, length)
		copy(data, n.data)
		clear(data[min(off, length):min(off+size, length)])
		n.data = data
		p.touch(n, "")
		return nil
	})
}

func (p *player) read() error { return p.withFile("read", os.O_RDONLY, p.readFrom) }

func (p *player) readFrom(f *fs.File, n *node) error {
	off, b := p.size(), make([]byte, p.size())
	p.what += fmt.Sprintf(" %d at %d", len(b), off)
	got, err := f.ReadAt(b, int64(off))
	if err != nil && err != io.EOF {
		return err
	}
	want := n.data[min(off, len(n.data)):min(off+len(b), len(n.data))]
	if !bytes.Equal(b[:got], want) {
		return fmt.Errorf("%w: read %d bytes, which are wrong", errModel, got)
	}
	p.touch(n, "")
	return nil
}

func (p *player) chmod() error {
	path, n := p.pickAny()
	mode := uint32(p.r.IntN(0o10000))
	if n.mode&syscall.S_IFMT == syscall.S_IFLNK {
		return nil
	}
	p.what = "chmod " + path
	fm := iofs.FileMode(mode & 0o777)
	for i, m := range []iofs.FileMode{iofs.ModeSticky, iofs.ModeSetgid, iofs.ModeSetuid} {
		if mode>>(9+i)&1 != 0 {
			fm |= m
		}
	}
	if done, err := p.same(p.f.Chmod(path, fm), 0); !done {
		return err
	}
	n.mode = n.mode&syscall.S_IFMT | mode
	p.touch(n, "c")
	return nil
}

func (p *player) chown() error {
	path, n := p.pickAny()
	uid, gid := p.r.IntN(100)-1, p.r.IntN(100)-1
	p.what = "chown " + path
	if done, err := p.same(p.f.Lchown(path, uid, gid), 0); !done {
		return err
	}
	if uid >= 0 {
		n.uid = uint32(uid)
	}
	if gid >= 0 {
		n.gid = uint32(gid)
	}
	if !n.isDir() {
		n.mode &^= syscall.S_ISUID
		if n.mode&syscall.S_IXGRP != 0 {
			n.mode &^= syscall.S_ISGID
		}
	}
	p.touch(n, "c")
	return nil
}

func (p *player) chtimes() error {
	path, n := p.pickAny()
	if n.mode&syscall.S_IFMT == syscall.S_IFLNK {
		return nil
	}
	atime, mtime := p.r.Int64N(1<<62), p.r.Int64N(1<<62)
	p.what = "chtimes " + path
	if done, err := p.same(p.f.Chtimes(path, time.Unix(0, atime), time.Unix(0, mtime)), 0); !done {
		return err
	}
	n.atime, n.mtime = atime, mtime
	p.touch(n, "c")
	return nil
}

func (p *player) setxattr() error {
	path, n := p.pickAny()
	name := "user." + string(rune('a'+p.r.IntN(3)))
	value := string(p.bytes(p.r.IntN(1 << (1 + p.r.IntN(17))))[:])
	value = value[:min(len(value), fs.MaxXattr)]
	flags := uint32([]int{0, 0, fs.XattrCreate, fs.XattrReplace}[p.r.IntN(4)])
	_, there := n.xattrs[name]
	want := syscall.Errno(0)
	switch {
	case there && flags == fs.XattrCreate:
		want = syscall.EEXIST
	case !there && flags == fs.XattrReplace:
		want = syscall.ENODATA
	}
	p.what = fmt.Sprintf("setxattr %s %s, %d bytes", path, name, len(value))
	if done, err := p.same(p.f.SetXattr(path, name, []byte(value), flags), want); !done {
		return err
	}
	n.xattrs[name] = value
	p.touch(n, "c")
	return nil
}

func (p *player) removexattr() error {
	path, n := p.pickAny()
	name := "user." + string(rune('a'+p.r.IntN(3)))
	want := syscall.Errno(0)
	if _, there := n.xattrs[name]; !there {
		want = syscall.ENODATA
	}
	p.what = "removexattr " + path
	if done, err := p.same(p.f.RemoveXattr(path, name), want); !done {
		return err
	}
	delete(n.xattrs, name)
	p.touch(n, "c")
	return nil
}

func (p *player) keepOpen() error {
	path, n := p.pickFile()
	if n == nil || len(p.open) > 4 {
		return nil
	}
	p.what = "open " + path
	f, err := p.f.OpenFile(path, os.O_RDWR, 0)
	p.open = append(p.open, openFile{f, n})
	return err
}

func (p *player) withOpen(what string, fn func(f *fs.File, n *node) error) error {
	if len(p.open) == 0 {
		return nil
	}
	o := p.open[p.r.IntN(len(p.open))]
	p.what = what + " " + o.file.Name() + ", kept open"
	return fn(o.file, o.node)
}

func (p *player) writeOpen() error { return p.withOpen("write", p.writeTo) }
func (p *player) readOpen() error  { return p.withOpen("read", p.readFrom) }

func (p *player) closeOpen() error {
	if len(p.open) == 0 {
		return nil
	}
	i := p.r.IntN(len(p.open))
	p.what = "close " + p.open[i].file.Name()
	err := p.open[i].file.Close()
	p.open = slices.Delete(p.open, i, i+1)
	return err
}

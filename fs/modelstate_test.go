package fs_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/coffer-fs/coffer/fs"
)

// node is a file of the model.
type node struct {
	mode     uint32
	uid, gid uint32
	data     []byte
	target   string
	xattrs   map[string]string
	names    map[string]*node // of a directory
	parent   *node            // of a directory
	links    uint32

	atime, mtime, ctime int64
}

func (n *node) isDir() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }
func (n *node) isReg() bool { return n.mode&syscall.S_IFMT == syscall.S_IFREG }

func newNode(mode uint32) *node {
	n := &node{mode: mode, links: 1, xattrs: map[string]string{}}
	if n.isDir() {
		n.links, n.names = 2, map[string]*node{}
	}
	return n
}

// sortedNames makes random choices among names depend on the seed only.
func (n *node) sortedNames() []string { return slices.Sorted(maps.Keys(n.names)) }

// model is a state of the whole tree.
type model struct{ root *node }

func newModel() *model {
	m := &model{newNode(syscall.S_IFDIR | 0o755)}
	m.root.parent = m.root
	return m
}

// clone copies the state. Data is never changed in place, so it is shared.
func (m *model) clone() *model {
	twins := map[*node]*node{}
	var copyNode func(n *node) *node
	copyNode = func(n *node) *node {
		if t := twins[n]; t != nil {
			return t
		}
		t := *n
		twins[n] = &t
		t.xattrs = maps.Clone(n.xattrs)
		if n.isDir() {
			t.names = map[string]*node{}
			for name, kid := range n.names {
				t.names[name] = copyNode(kid)
				if kid.isDir() {
					t.names[name].parent = &t
				}
			}
		}
		return &t
	}
	c := &model{copyNode(m.root)}
	c.root.parent = c.root
	return c
}

// walk calls fn for every name, parents first, in order.
func (m *model) walk(fn func(path string, n *node)) {
	var visit func(path string, n *node)
	visit = func(path string, n *node) {
		fn(path, n)
		for _, name := range n.sortedNames() {
			visit(path+"/"+name, n.names[name])
		}
	}
	visit("", m.root)
}

// line describes one file. Files with several names are told by the first.
type line struct {
	path, first string
	mode        uint32
	uid, gid    uint32
	links       uint32
	size        int64
	content     string
	xattrs      string
	times       [3]int64
}

func (l line) String() string {
	return fmt.Sprintf("%s = %s: %o %d:%d links %d size %d %s %s times %v",
		l.path, l.first, l.mode, l.uid, l.gid, l.links, l.size, l.content, l.xattrs, l.times)
}

func contentOf(data []byte) string {
	if len(data) <= 16 {
		return fmt.Sprintf("%x", data)
	}
	return fmt.Sprintf("%.8x", sha256.Sum256(data))
}

func xattrsOf(x map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(x)) {
		fmt.Fprintf(&b, "%s=%s ", name, contentOf([]byte(x[name])))
	}
	return b.String()
}

// dump describes the whole state.
func (m *model) dump() []line {
	var out []line
	first := map[*node]string{}
	m.walk(func(path string, n *node) {
		if _, ok := first[n]; !ok {
			first[n] = path
		}
		l := line{
			path: path, first: first[n], mode: n.mode, uid: n.uid, gid: n.gid, links: n.links,
			xattrs: xattrsOf(n.xattrs), times: [3]int64{n.atime, n.mtime, n.ctime},
		}
		switch {
		case n.isReg():
			l.size, l.content = int64(len(n.data)), contentOf(n.data)
		case n.isDir():
			l.size = int64(len(n.names))
		default:
			l.size, l.content = int64(len(n.target)), contentOf([]byte(n.target))
		}
		out = append(out, l)
	})
	return out
}

// dumpTree describes what a filesystem holds in the same way. Attributes are
// read before any data, because reading data changes them.
func dumpTree(f *fs.FS) ([]line, error) {
	var out []line
	first := map[fs.Ino]string{}
	var visit func(path string) error
	visit = func(path string) error {
		info, err := f.Lstat(path)
		if err != nil {
			return err
		}
		a := info.Sys().(fs.Attr)
		if _, ok := first[a.Ino]; !ok {
			first[a.Ino] = path
		}
		out = append(out, line{
			path: path, first: first[a.Ino], mode: a.Mode, uid: a.UID, gid: a.GID, links: a.Links, size: a.Size,
			times: [3]int64{nanos(a.Atime), nanos(a.Mtime), nanos(a.Ctime)},
		})
		if !a.IsDir() {
			return nil
		}
		es, err := f.ReadDir(path)
		if err != nil {
			return err
		}
		names := make([]string, len(es))
		for i, e := range es {
			names[i] = e.Name()
		}
		slices.Sort(names)
		for _, name := range names {
			if err := visit(path + "/" + name); err != nil {
				return err
			}
		}
		return nil
	}
	if err := visit(""); err != nil {
		return nil, err
	}
	for i := range out {
		if err := fillLine(f, &out[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", out[i].path, err)
		}
	}
	return out, nil
}

func fillLine(f *fs.FS, l *line) error {
	var err error
	switch l.mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		var b []byte
		b, err = f.ReadFile(l.path)
		l.content = contentOf(b)
	case syscall.S_IFLNK:
		var target string
		target, err = f.Readlink(l.path)
		l.content = contentOf([]byte(target))
	}
	if err != nil {
		return err
	}
	x := map[string]string{}
	names, err := f.ListXattr(l.path)
	for _, name := range names {
		v, err := f.GetXattr(l.path, name)
		if err != nil {
			return err
		}
		x[name] = string(v)
	}
	l.xattrs = xattrsOf(x)
	return err
}

func nanos(t time.Time) int64 { return t.UnixNano() }

// differ says where two dumps are not the same; empty if they are. Times of
// files are left out if timeless is set.
func differ(want, got []line, timeless bool) string {
	if timeless {
		want, got = slices.Clone(want), slices.Clone(got)
		for _, ls := range [][]line{want, got} {
			for i := range ls {
				ls[i].times = [3]int64{}
			}
		}
	}
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			return fmt.Sprintf("there is more: %v", got[i])
		case i >= len(got):
			return fmt.Sprintf("missing: %v", want[i])
		case want[i] != got[i]:
			return fmt.Sprintf("want %v\n got %v", want[i], got[i])
		}
	}
	return ""
}

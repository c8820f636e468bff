package fs

import (
	"math"
	"slices"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// object is what Check has seen of one inode: its items come in the order of
// their types.
type object struct {
	c     *checking
	ino   Ino
	found bool // the inode item
	node  inode

	inline     int64
	parts      uint64 // inline items
	extentsEnd int64  // of the last one
	data       int64  // in extents, in bytes
	behind     int64  // of that, behind the size
	byHash     uint64 // entries
	byIndex    uint64
	subdirs    uint64
	xattr      xattrParts
}

// xattrParts is the attribute whose parts are being read.
type xattrParts struct {
	hash uint64
	next int // part
	left int // bytes of the value
}

func (o *object) problem(format string, args ...any) { o.c.problem(o.ino, format, args...) }

func (o *object) item(k store.Key, v []byte) error {
	if !o.found && k != inodeKey(o.ino) {
		o.problem("an item of type %d without an inode", k.Type)
		o.found, o.node = true, inode{links: math.MaxUint32}
	}
	switch k.Type {
	case typeInode:
		return o.inode(k, v)
	case typeXattr:
		o.xattrPart(k, v)
	case typeInline:
		o.inline += int64(len(v))
		if k.Sub != o.parts {
			o.problem("inline item %d is missing", o.parts)
		}
		o.parts++
	case store.TypeExtent:
		o.extent(k, v)
	case typeEntry:
		return o.entries(k, v)
	case typeIndex:
		return o.index(k, v)
	default:
		o.problem("an item of unknown type %d", k.Type)
	}
	return nil
}

func (o *object) inode(k store.Key, v []byte) (err error) {
	o.found = true
	o.c.report.Inodes++
	if o.node, err = parseInode(v); err != nil || k.Sub != 0 {
		o.problem("inode item %d: %v", k.Sub, err)
		return nil
	}
	if _, ok := knownTypes[o.node.mode&syscall.S_IFMT]; !ok {
		o.problem("file type %o", o.node.mode>>12)
	}
	if o.ino >= o.c.super.nextIno {
		o.problem("the next new inode is to be %d", o.c.super.nextIno)
	}
	return nil
}

func (o *object) xattrPart(k store.Key, v []byte) {
	x, part := &o.xattr, int(k.Sub&0xff)
	if part == 0 {
		o.endXattr()
		o.c.report.Xattrs++
		name, size, rest, err := parseXattr(v)
		if err != nil || o.c.f.hash(name)&^0xff != k.Sub {
			o.problem("extended attribute %q does not belong where it is: %v", name, err)
		}
		*x = xattrParts{hash: k.Sub, next: 1, left: size - len(rest)}
		return
	}
	if k.Sub&^0xff != x.hash || part != x.next || len(v) == 0 || len(v) > x.left {
		o.problem("part %d of an extended attribute that has none", part)
		return
	}
	x.next++
	x.left -= len(v)
}

func (o *object) endXattr() {
	if o.xattr.left > 0 {
		o.problem("an extended attribute lacks %d bytes", o.xattr.left)
	}
	o.xattr = xattrParts{}
}

func (o *object) extent(k store.Key, v []byte) {
	o.c.report.Extents++
	m, err := parseMapped(o.ino, k, v)
	if err != nil {
		o.problem("extent: %v", err)
		return
	}
	if m.at < o.extentsEnd {
		o.problem("extents overlap at offset %d", m.at)
	}
	o.extentsEnd = m.end()
	o.data += int64(m.extent.Count)
	o.behind += max(0, m.end()-max(m.at, o.node.size))
}

// entries checks the entries that share a hash, and what they name.
func (o *object) entries(k store.Key, v []byte) error {
	es, err := parseEntries(v)
	if err != nil || len(es) == 0 {
		o.problem("entry: %v", err)
		return nil
	}
	for i, e := range es {
		o.byHash++
		o.c.report.Entries++
		o.c.named += fingerprint(e.ino)
		switch {
		case checkNewName(e.name) != nil:
			o.problem("entry with the name %q", e.name)
		case o.c.f.hash(e.name) != k.Sub:
			o.problem("entry %q does not belong where it is", e.name)
		case slices.IndexFunc(es, func(x entry) bool { return x.name == e.name }) != i:
			o.problem("two entries %q", e.name)
		case e.index == 0 || e.index >= o.node.nextIndex:
			o.problem("entry %q has index %d, the next new one is %d", e.name, e.index, o.node.nextIndex)
		}
		if err := o.target(e); err != nil {
			return err
		}
	}
	return nil
}

// target checks the inode that an entry names.
func (o *object) target(e entry) error {
	n, err := getInode(o.c.tx, e.ino)
	switch {
	case err == syscall.ENOENT:
		o.problem("entry %q of inode %d, which is missing", e.name, e.ino)
		return nil
	case Errno(err) == syscall.EIO:
		return nil // told when its turn comes
	case err != nil:
		return err
	}
	if n.kind() != e.kind {
		o.problem("entry %q of type %o for inode %d of type %o", e.name, e.kind, e.ino, n.kind())
	}
	if n.isDir() {
		o.subdirs++
		if n.parent != o.ino {
			o.problem("entry %q of directory %d, whose parent is %d", e.name, e.ino, n.parent)
		}
	}
	return nil
}

// index checks an entry by index against the one by hash.
func (o *object) index(k store.Key, v []byte) error {
	o.byIndex++
	e, err := parseIndex(o.ino, k, v)
	if err != nil {
		o.problem("%v", err)
		return nil
	}
	same, ok, err := o.c.f.find(o.c.tx, o.ino, e.name)
	if err != nil {
		return err
	}
	if !ok || same != e {
		o.problem("entry %q is not the same by name and by index", e.name)
	}
	return nil
}

// finish checks what can be said when all items were seen.
func (o *object) finish() error {
	if o.node.links == math.MaxUint32 {
		return nil
	}
	o.endXattr()
	n := o.node
	orphan, err := o.c.orphans.has(o.ino, o.c.problem)
	if err != nil {
		return err
	}
	trim, err := o.c.trims.has(o.ino, o.c.problem)
	if err != nil {
		return err
	}
	o.marks(orphan, trim)
	o.c.report.Bytes += uint64(o.data + o.inline)
	if n.isDir() {
		return o.finishDir()
	}
	o.c.links += uint64(n.links) * fingerprint(o.ino)
	if o.byHash+o.byIndex > 0 {
		o.problem("entries, and it is no directory")
	}
	if o.data+o.inline != n.bytes && !orphan {
		o.problem("%d bytes of data on record, there are %d", n.bytes, o.data+o.inline)
	}
	o.finishData(orphan || trim)
	return nil
}

func (o *object) marks(orphan, trim bool) {
	if orphan {
		o.c.report.Orphans++
	}
	if trim {
		o.c.report.Trims++
	}
	if (o.node.links == 0) != orphan {
		o.problem("%d names and orphan: %v", o.node.links, orphan)
	}
}

// finishData checks the data of what is no directory.
func (o *object) finishData(partial bool) {
	n, inline := o.node, o.node.flags&flagInline != 0
	switch isLink := n.mode&syscall.S_IFMT == syscall.S_IFLNK; {
	case isLink && (o.inline != n.size || n.size > MaxTarget || o.data > 0):
		o.problem("a link of %d bytes with a target of %d bytes", n.size, o.inline)
	case isLink:
	case !n.isReg() && (n.size > 0 || o.data+o.inline > 0):
		o.problem("%d bytes in a special file", n.size+o.data+o.inline)
	case inline && (o.inline > min(n.size, InlineMax) || o.data > 0):
		o.problem("%d bytes inline and %d in extents, with a size of %d", o.inline, o.data, n.size)
	case !inline && o.parts > 0 && !partial:
		o.problem("%d inline items, and extents", o.parts)
	case o.behind > 0 && !partial:
		o.problem("%d bytes of data behind the size of %d", o.behind, n.size)
	}
}

func (o *object) finishDir() error {
	n := o.node
	o.c.report.Directories++
	if o.data+o.inline > 0 {
		o.problem("data in a directory")
	}
	if n.size < 0 || o.byHash != uint64(n.size) || o.byIndex != uint64(n.size) {
		o.problem("%d entries on record, %d by name and %d by index", n.size, o.byHash, o.byIndex)
	}
	if n.links == 0 {
		return nil // removed, and somebody is still in it
	}
	if uint64(n.links) != 2+o.subdirs {
		o.problem("%d links on record, %d directories in it", n.links, o.subdirs)
	}
	if o.ino != RootIno {
		o.c.links += fingerprint(o.ino) // the one name of a directory
	}
	return o.leadsToRoot()
}

// leadsToRoot checks that the parents lead to the root, or to a directory for
// which that was checked: those with smaller numbers were.
func (o *object) leadsToRoot() error {
	at := o.node.parent
	for steps := 0; at != RootIno && at >= o.ino; steps++ {
		if at == o.ino || steps > maxDepth {
			if o.ino != RootIno {
				o.problem("a directory that is in itself")
			}
			return nil
		}
		n, err := getInode(o.c.tx, at)
		if err == syscall.ENOENT || err == nil && !n.isDir() {
			o.problem("no directory at inode %d, which its parents lead to", at)
			return nil
		}
		if err != nil {
			return err
		}
		at = n.parent
	}
	if at != RootIno {
		if _, err := getDir(o.c.tx, at); err == syscall.ENOENT || err == syscall.ENOTDIR {
			o.problem("no directory at inode %d, which its parents lead to", at)
		}
	}
	return nil
}

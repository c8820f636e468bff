package fs

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// Remains is the tree of files of a volume that may be damaged anywhere. Nothing
// that it tells is wrong; what is missing, or may be, it tells as lost. It takes
// memory for one file at a time, and not for all of that. It is used by one
// goroutine.
type Remains struct{ w wreckage }

// wreckage is a state of a volume of which parts may be missing: the present one, a
// *store.Wreck, or that of a snapshot, a *store.WreckSnapshot.
type wreckage interface {
	Scan(ctx context.Context, from, to store.Key, fn func(k store.Key, value []byte) (bool, error), lost func(store.LostItems) error) error
	Get(ctx context.Context, k store.Key) (value []byte, ok bool, err error)
	Read(ctx context.Context, reads []store.Read) ([]error, error)
}

// NewRemains looks for files in a wreck.
func NewRemains(w *store.Wreck) *Remains { return &Remains{w} }

// NewSnapshotRemains looks for files in a snapshot of a wreck.
func NewSnapshotRemains(p *store.WreckSnapshot) *Remains { return &Remains{p} }

// KeptLosses calls lost for what is lost of files as snapshots alone have them, with
// the snapshot's name.
func KeptLosses(ctx context.Context, w *store.Wreck, lost func(snapshot string, l Loss) error) error {
	return w.KeptLosses(ctx, func(l store.KeptLoss) error { return lost(l.Snapshot, lossOf(l.LostItems)) })
}

// Loss is something that could not be read.
type Loss struct {
	// Ino is the file that is hit, and Last the last one that may be: in a
	// damaged node of the tree there may have been files that nothing else
	// tells of.
	Ino, Last Ino
	// Off and Len are the bytes of the file that are lost; Len is 0 if it is
	// something else.
	Off, Len int64
	What     string
}

func (l Loss) String() string {
	who := fmt.Sprintf("inode %d", l.Ino)
	if l.Last > l.Ino {
		who = fmt.Sprintf("inodes %d to %d", l.Ino, l.Last)
	}
	if l.Len > 0 {
		return fmt.Sprintf("%s: bytes %d to %d: %s", who, l.Off, l.Off+l.Len-1, l.What)
	}
	return fmt.Sprintf("%s: %s", who, l.What)
}

// Visitor is given what Remains.Files finds, one file after the other, in order
// of inodes. An error ends the visit.
type Visitor interface {
	// Begin begins a file. If its inode is lost, known is false and only the
	// number of a is right.
	Begin(a Attr, known bool) error
	// Entries says that the file is a directory with names in it.
	Entries() error
	// Xattr is an extended attribute.
	Xattr(name string, value []byte) error
	// Link is the whole target of a symbolic link.
	Link(target string) error
	// Data is a run of the file. Where none is, and no loss, there is a hole.
	Data(off int64, p []byte) error
	// End ends the file.
	End() error
	// Lost may come at any time.
	Lost(Loss) error
}

// Files visits every file there is anything of.
func (r *Remains) Files(ctx context.Context, v Visitor) error {
	p := &remainsPass{r: r, ctx: ctx, v: v}
	err := r.w.Scan(ctx, store.Key{Object: 1}, store.Key{Object: store.MaxObject + 1}, func(k store.Key, value []byte) (bool, error) {
		return true, p.item(k, value)
	}, p.lost)
	if err != nil {
		return err
	}
	return p.end()
}

// remainsPass is one run of Files.
type remainsPass struct {
	r   *Remains
	ctx context.Context
	v   Visitor

	ino     Ino // 0 between files
	node    inode
	known   bool
	entries bool
	xattr   xattrRemains
	inline  []byte
	reads   []store.Read
	places  []int64 // of reads, in the file
}

// xattrRemains is the attribute whose parts are coming.
type xattrRemains struct {
	name  string
	value []byte
	size  int
	hash  uint64
	next  int
}

func (p *remainsPass) item(k store.Key, value []byte) error {
	if Ino(k.Object) != p.ino {
		if err := p.end(); err != nil {
			return err
		}
		if err := p.begin(k, value); err != nil {
			return err
		}
	}
	switch k.Type {
	case typeInode:
		return nil
	case typeXattr:
		return p.xattrPart(k, value)
	case typeInline:
		return p.inlinePart(k, value)
	case store.TypeExtent:
		return p.extent(k, value)
	case typeEntry, typeIndex:
		if p.entries {
			return nil
		}
		p.entries = true
		return p.v.Entries()
	}
	return p.loss("an item of unknown type %d", k.Type)
}

func (p *remainsPass) begin(k store.Key, value []byte) (err error) {
	p.ino, p.node, p.known, p.entries, p.inline = Ino(k.Object), inode{}, false, false, nil
	p.xattr = xattrRemains{}
	why := "its inode is lost"
	if k == inodeKey(p.ino) {
		if p.node, err = parseInode(value); err == nil {
			p.known = true
		} else {
			why = err.Error()
		}
	}
	if err := p.v.Begin(p.node.attr(p.ino), p.known); err != nil || p.known {
		return err
	}
	return p.loss("%s: owner, mode, times and size are not known", why)
}

func (p *remainsPass) loss(format string, args ...any) error {
	return p.v.Lost(Loss{Ino: p.ino, Last: p.ino, What: fmt.Sprintf(format, args...)})
}

func (p *remainsPass) xattrPart(k store.Key, value []byte) error {
	x, part := &p.xattr, int(k.Sub&0xff)
	if part == 0 {
		if err := p.endXattr(); err != nil {
			return err
		}
		name, size, rest, err := parseXattr(value)
		if err != nil {
			return p.loss("extended attribute: %v", err)
		}
		*x = xattrRemains{name, append([]byte(nil), rest...), size, k.Sub, 1}
		return nil
	}
	if x.next == 0 || k.Sub&^0xff != x.hash || part != x.next || len(value) > x.size-len(x.value) {
		return p.loss("part %d of an extended attribute of which the part before is lost", part)
	}
	x.next++
	x.value = append(x.value, value...)
	return nil
}

func (p *remainsPass) endXattr() error {
	x := p.xattr
	p.xattr = xattrRemains{}
	switch {
	case x.next == 0:
		return nil
	case len(x.value) < x.size:
		return p.loss("extended attribute %q: %d of %d bytes are lost", x.name, x.size-len(x.value), x.size)
	}
	return p.v.Xattr(x.name, x.value)
}

func (p *remainsPass) isLink() bool { return p.known && p.node.mode&syscall.S_IFMT == syscall.S_IFLNK }

func (p *remainsPass) inlinePart(k store.Key, value []byte) error {
	at := int64(k.Sub) * inlinePart
	if k.Sub > MaxTarget/inlinePart || len(value) > inlinePart {
		return p.loss("inline item %d of %d bytes", k.Sub, len(value))
	}
	if !p.isLink() {
		return p.data(at, value)
	}
	if int64(len(p.inline)) == at { // else a part before is lost, and the target too short
		p.inline = append(p.inline, value...)
	}
	return nil
}

// data passes on what lies within the file's size.
func (p *remainsPass) data(at int64, b []byte) error {
	if p.known {
		b = b[:max(0, min(int64(len(b)), p.node.size-at))]
	}
	if len(b) == 0 {
		return nil
	}
	return p.v.Data(at, b)
}

// readsAtOnce is how many extents are read together.
const readsAtOnce = 64

func (p *remainsPass) extent(k store.Key, value []byte) error {
	m, err := parseMapped(p.ino, k, value)
	if err != nil {
		return p.loss("extent that ends at %d: %v", k.Sub, err)
	}
	if p.known && (!p.node.isReg() || m.at >= p.node.size) {
		return nil // to be deleted
	}
	p.reads = append(p.reads, store.Read{Extent: m.extent, Dst: make([]byte, m.extent.Count)})
	p.places = append(p.places, m.at)
	if len(p.reads) < readsAtOnce {
		return nil
	}
	return p.readAll()
}

func (p *remainsPass) readAll() error {
	errs, err := p.r.w.Read(p.ctx, p.reads)
	for i, r := range p.reads {
		at := p.places[i]
		switch {
		case err != nil:
		case errs[i] == nil:
			err = p.data(at, r.Dst)
		default:
			n := int64(len(r.Dst))
			if p.known {
				n = min(n, p.node.size-at)
			}
			err = p.v.Lost(Loss{p.ino, p.ino, at, n, errs[i].Error()})
		}
	}
	p.reads, p.places = p.reads[:0], p.places[:0]
	return err
}

func (p *remainsPass) end() error {
	if p.ino == 0 {
		return nil
	}
	err := p.endXattr()
	if err == nil && len(p.reads) > 0 {
		err = p.readAll()
	}
	if err == nil && p.isLink() {
		if int64(len(p.inline)) == p.node.size {
			err = p.v.Link(string(p.inline))
		} else {
			err = p.loss("the target of the symbolic link is lost")
		}
	}
	p.ino = 0
	if err != nil {
		return err
	}
	return p.v.End()
}

// lost tells of a part of the map that can't be read, in terms of files.
func (p *remainsPass) lost(l store.LostItems) error {
	if p.ino != 0 && len(p.reads) > 0 {
		if err := p.readAll(); err != nil {
			return err
		}
	}
	return p.v.Lost(lossOf(l))
}

// lossOf says what is lost in terms of files.
func lossOf(l store.LostItems) Loss {
	first, last := max(1, Ino(l.From.Object)), Ino(l.To.Object)
	if !inodeKey(last).Less(l.To) || last > store.MaxObject { // the file behind is whole
		last--
	}
	loss := Loss{Ino: first, Last: max(first, last), What: l.Damage.String()}
	if l.From.Object == l.To.Object && l.From.Type == store.TypeExtent && l.To.Type == store.TypeExtent {
		loss.Off, loss.Len = int64(l.From.Sub), int64(l.To.Sub-l.From.Sub)
	}
	return loss
}

// Attr returns the attributes of a file, and the directory that it stands in if
// it is one itself.
func (r *Remains) Attr(ctx context.Context, i Ino) (Attr, Ino, error) {
	b, ok, err := r.w.Get(ctx, inodeKey(i))
	if err == nil && !ok {
		err = syscall.ENOENT
	}
	if err != nil {
		return Attr{Ino: i}, 0, err
	}
	n, err := parseInode(b)
	return n.attr(i), n.parent, err
}

// Xattrs calls fn for each extended attribute of a file that is whole.
func (r *Remains) Xattrs(ctx context.Context, i Ino, fn func(name string, value []byte) error) error {
	p := &remainsPass{r: r, ctx: ctx, ino: i, v: xattrsOnly{fn}}
	err := r.w.Scan(ctx, store.Key{Object: uint64(i), Type: typeXattr}, typeEnd(uint64(i), typeXattr), func(k store.Key, v []byte) (bool, error) {
		return true, p.xattrPart(k, v)
	}, func(store.LostItems) error { return nil })
	if err == nil {
		err = p.endXattr()
	}
	return err
}

// xattrsOnly is a Visitor for extended attributes; what is lost was told before.
type xattrsOnly struct {
	fn func(string, []byte) error
}

func (x xattrsOnly) Xattr(name string, value []byte) error { return x.fn(name, value) }
func (xattrsOnly) Begin(Attr, bool) error                  { return nil }
func (xattrsOnly) Entries() error                          { return nil }
func (xattrsOnly) Link(string) error                       { return nil }
func (xattrsOnly) Data(int64, []byte) error                { return nil }
func (xattrsOnly) End() error                              { return nil }
func (xattrsOnly) Lost(Loss) error                         { return nil }

// Entries calls fn for each name in a directory that is left in either of the two
// forms that the directory has, perhaps twice, and reports whether names may be lost.
func (r *Remains) Entries(ctx context.Context, dir Ino, fn func(DirEntry) error) (lost bool, err error) {
	hit := false
	noteHit := func(store.LostItems) error { hit = true; return nil }
	each := func(_ store.Key, v []byte) (bool, error) {
		es, err := parseEntries(v)
		if err != nil {
			hit = true
			return true, nil
		}
		for _, e := range es {
			if checkNewName(e.name) != nil {
				hit = true
				continue
			}
			if err := fn(DirEntry{Name: e.name, Ino: e.ino, Type: uint32(e.kind) << 12}); err != nil {
				return false, err
			}
		}
		return true, nil
	}
	err = r.w.Scan(ctx, indexKey(dir, 0), typeEnd(uint64(dir), typeIndex), each, noteHit)
	if err != nil || !hit {
		return false, err
	}
	hit = false
	err = r.w.Scan(ctx, entryKey(dir, 0), typeEnd(uint64(dir), typeEntry), each, noteHit)
	return hit, err
}

// NotThere reports whether err says that there is no such file, and not that it
// can't be known.
func NotThere(err error) bool { return errors.Is(err, syscall.ENOENT) }

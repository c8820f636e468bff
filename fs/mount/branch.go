package mount

import (
	"math/bits"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
)

// indexShift is where the index of its tree begins in a node id, above the number of
// an inode. What is known of inodes by their numbers (who copies hard links goes by
// them) is then true of all that is in one mount.
var indexShift = bits.Len64(store.MaxObject)

// branch is one tree of those that a mount shows, and what the kernel was told of it.
type branch struct {
	*fs.Tree
	base    uint64 // of its node ids
	handles *handles
	known   known
	shown   map[fs.Ino]*branch // instead of directories of this tree; constant
	above   *branch            // that shows this one instead of its directory hidden; nil for none
	hidden  fs.Ino
}

// newBranches makes one of each tree, that of f first.
func newBranches(f *fs.FS) []*branch {
	all := []*branch{newBranch(f.Tree(), 0)}
	byTree := map[*fs.Tree]*branch{f.Tree(): all[0]}
	for i, a := range f.Attachments() {
		outer, inner := byTree[a.Outer], newBranch(a.Inner, uint64(i+1)<<indexShift)
		inner.above, inner.hidden = outer, a.Dir
		if outer.shown == nil {
			outer.shown = map[fs.Ino]*branch{}
		}
		outer.shown[a.Dir], byTree[a.Inner] = inner, inner
		all = append(all, inner)
	}
	return all
}

func newBranch(t *fs.Tree, base uint64) *branch {
	br := &branch{Tree: t, base: base, handles: newHandles(t), known: newKnown()}
	t.KeepKnown(br.known.has)
	return br
}

// node is the id by which the kernel knows an inode.
func (br *branch) node(i fs.Ino) uint64 { return br.base | uint64(i) }

// lookup finds a name in a directory. What is there may be of another tree; after an
// error the branch is this one.
func (br *branch) lookup(dir fs.Ino, name string) (*branch, fs.Attr, error) {
	at := br
	if name == ".." && dir == fs.RootIno && br.above != nil {
		at, dir = br.above, br.hidden
	}
	a, err := at.Lookup(background, dir, name)
	if err != nil {
		return br, a, err
	}
	return at.seen(a)
}

// seen is what is seen of a file of this tree with attributes a: that file, or the root
// of another tree.
func (br *branch) seen(a fs.Attr) (*branch, fs.Attr, error) {
	other := br.shown[a.Ino]
	if other == nil {
		return br, a, nil
	}
	a, err := other.GetAttr(background, fs.RootIno)
	return other, a, err
}

// exists reports whether a directory that a lookup failed in is there itself.
func (br *branch) exists(dir fs.Ino) bool {
	_, err := br.GetAttr(background, dir)
	return err == nil
}

// busy reports whether a name is that of a directory which shows another tree. It can
// be neither removed nor renamed, so it stays so.
func (br *branch) busy(dir fs.Ino, name string) bool {
	if len(br.shown) == 0 {
		return false
	}
	a, err := br.Lookup(background, dir, name)
	return err == nil && br.shown[a.Ino] != nil
}

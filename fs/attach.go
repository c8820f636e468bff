package fs

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"syscall"
)

// mounts are the filesystems attached to directories of another, as mounts are in
// an operating system: paths lead into and out of them, nothing is renamed or
// linked between them, and what they hide stays hidden. They are constant once the
// filesystem is in use.
type mounts struct {
	on    map[spot]*Tree // by the directory that is hidden
	below map[*Tree]spot
	all   []Attachment // in the order of Attach
}

// Attachment is a filesystem that is attached to a directory of another.
type Attachment struct {
	Outer *Tree
	Dir   Ino // of Outer, which is hidden
	Inner *Tree
}

// Attachments returns what is attached, in the order in which it was. A mount shows
// it.
func (f *FS) Attachments() []Attachment { return slices.Clone(f.attached.all) }

// spot is a directory.
type spot struct {
	tree *Tree
	ino  Ino
}

// at returns what is attached to a directory, nil for nothing.
func (m *mounts) at(t *Tree, i Ino) *Tree { return m.on[spot{t, i}] }

// seen is what is seen of a file of t with attributes a: that file, or the root of
// what is attached to it.
func (m *mounts) seen(t *Tree, a Attr) (Attr, error) {
	if o := m.at(t, a.Ino); o != nil {
		return o.GetAttr(context.Background(), RootIno)
	}
	return a, nil
}

// above returns the directory that the root of an attached filesystem hides.
func (m *mounts) above(t *Tree, i Ino) (spot, bool) {
	if i != RootIno {
		return spot{}, false
	}
	s, ok := m.below[t]
	return s, ok
}

// Attach shows other at directory dir, which is made if it is not there. It must
// be called before f is used otherwise, and other must stay open as long as f.
func (f *FS) Attach(dir string, other *FS) error {
	if err := f.attachPoint(dir); err != nil {
		return err
	}
	n, err := f.resolve(context.Background(), dir, true)
	switch {
	case err != nil:
		return pathError("attach", dir, err)
	case n.Ino == RootIno || !n.IsDir():
		return pathError("attach", dir, syscall.EBUSY)
	}
	s := spot{n.tree, n.Ino}
	if f.attached.on == nil {
		f.attached = mounts{on: map[spot]*Tree{}, below: map[*Tree]spot{}}
	}
	f.attached.on[s], f.attached.below[other.tree] = other.tree, s
	f.attached.all = append(f.attached.all, Attachment{n.tree, n.Ino, other.tree})
	return nil
}

// attachPoint makes the directory if it is not there, also in a full volume: nothing
// could be removed from one that could not be opened.
func (f *FS) attachPoint(dir string) error {
	const perm = 0o777 | fs.ModeSticky
	err := f.MkdirAll(dir, perm)
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	p, err := f.parent(context.Background(), dir)
	if err == nil {
		_, err = p.tree.makeAnyway(context.Background(), p.dir, p.name, NewNode{Mode: syscall.S_IFDIR | unixMode(perm)})
	}
	return pathError("attach", dir, err)
}

// busy gives EBUSY for a name that an attached filesystem hides: it can be neither
// removed nor renamed.
func (f *FS) busy(ctx context.Context, p place) error {
	if len(f.attached.on) == 0 {
		return nil
	}
	a, err := p.tree.Lookup(ctx, p.dir, p.name)
	if err == nil && f.attached.at(p.tree, a.Ino) != nil {
		return syscall.EBUSY
	}
	return nil // if there is no such file, whoever acts on it says so
}

package fs

import (
	"context"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// Lookup returns the file of that name in a directory; "." and ".." work.
func (f *Tree) Lookup(ctx context.Context, dir Ino, name string) (Attr, error) {
	if err := checkName(name); err != nil {
		return Attr{}, err
	}
	return f.attr(ctx, func(tx *store.Tx) (Ino, error) { return f.lookup(tx, dir, name) })
}

// attr returns the attributes of the file that find finds.
func (f *Tree) attr(ctx context.Context, find func(*store.Tx) (Ino, error)) (Attr, error) {
	var a Attr
	err := f.attrs(func() error {
		err := f.view(ctx, func(tx *store.Tx) error {
			i, err := find(tx)
			if err != nil {
				return err
			}
			n, err := getInode(tx, i)
			a = n.attr(i)
			return err
		})
		if err == nil {
			f.overlay(&a)
		}
		return err
	})
	if err != nil {
		return Attr{}, err
	}
	return a, nil
}

func (f *Tree) lookup(tx *store.Tx, dir Ino, name string) (Ino, error) {
	d, err := getDir(tx, dir)
	if err != nil {
		return 0, err
	}
	switch name {
	case ".":
		return dir, nil
	case "..":
		return d.parent, nil
	}
	e, ok, err := f.find(tx, dir, name)
	if err == nil && !ok {
		err = syscall.ENOENT
	}
	return e.ino, err
}

// GetAttr returns the attributes of a file.
func (f *Tree) GetAttr(ctx context.Context, i Ino) (Attr, error) {
	return f.attr(ctx, func(*store.Tx) (Ino, error) { return i, nil })
}

// ReadLink returns the target of a symbolic link. EINVAL for other files.
func (f *Tree) ReadLink(ctx context.Context, i Ino) (string, error) {
	var target []byte
	err := f.view(ctx, func(tx *store.Tx) error {
		n, err := getInode(tx, i)
		if err != nil {
			return err
		}
		if n.mode&syscall.S_IFMT != syscall.S_IFLNK {
			return errInval
		}
		target, err = getInline(tx, i)
		return err
	})
	return string(target), wrap(err)
}

// DirEntry is one name in a directory.
type DirEntry struct {
	Name string
	Ino  Ino
	Type uint32 // file type bits of the mode
	// Next is the cookie with which reading goes on behind this entry.
	Next uint64
	// Attr is set if it was asked for.
	Attr Attr
}

// ReadDir returns up to limit entries of a directory, with their attributes if
// asked for, from a cookie on: 0 is the start. "." and ".." are not among them.
// Names that are there from the first call to the last are returned once,
// whatever else is made and removed meanwhile.
func (f *Tree) ReadDir(ctx context.Context, dir Ino, cookie uint64, limit int, attrs bool) ([]DirEntry, error) {
	before := f.settled.Load()
	var out []DirEntry
	err := f.view(ctx, func(tx *store.Tx) error {
		if _, err := getDir(tx, dir); err != nil {
			return err
		}
		var err error
		if out, err = listDir(tx, dir, cookie, limit); err != nil || !attrs {
			return err
		}
		return fillAttrs(tx, dir, out)
	})
	if err != nil || !attrs {
		return out, wrap(err)
	}
	for i := range out {
		f.overlay(&out[i].Attr)
	}
	if f.settled.Load() != before {
		err = f.refreshAttrs(ctx, out)
	}
	return out, err
}

func listDir(tx *store.Tx, dir Ino, cookie uint64, limit int) (out []DirEntry, err error) {
	err = tx.Scan(indexKey(dir, cookie), typeEnd(uint64(dir), typeIndex), func(k store.Key, v []byte) (bool, error) {
		e, err := parseIndex(dir, k, v)
		out = append(out, DirEntry{Name: e.name, Ino: e.ino, Type: uint32(e.kind) << 12, Next: k.Sub + 1})
		return len(out) < limit, err
	})
	return out, err
}

func fillAttrs(tx *store.Tx, dir Ino, out []DirEntry) error {
	for i := range out {
		n, err := getInode(tx, out[i].Ino)
		if err == syscall.ENOENT {
			err = damaged("directory %d: %q: inode %d is missing", dir, out[i].Name, out[i].Ino)
		}
		if err != nil {
			return err
		}
		out[i].Attr = n.attr(out[i].Ino)
	}
	return nil
}

// refreshAttrs reads the attributes of entries one by one, because some may have
// been read before and overlaid after a flush. Files that are gone by now keep
// what they had.
func (f *Tree) refreshAttrs(ctx context.Context, out []DirEntry) error {
	for i := range out {
		a, err := f.GetAttr(ctx, out[i].Ino)
		switch {
		case err == nil:
			out[i].Attr = a
		case Errno(err) != syscall.ENOENT:
			return err
		}
	}
	return nil
}

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
	var a Attr
	err := f.st.View(ctx, func(tx *store.Tx) error {
		i, err := f.lookup(tx, dir, name)
		if err != nil {
			return err
		}
		n, err := getInode(tx, i)
		a = n.attr(i)
		return err
	})
	if err != nil {
		return Attr{}, wrap(err)
	}
	f.overlay(&a)
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
	var a Attr
	err := f.st.View(ctx, func(tx *store.Tx) error {
		n, err := getInode(tx, i)
		a = n.attr(i)
		return err
	})
	if err != nil {
		return Attr{}, wrap(err)
	}
	f.overlay(&a)
	return a, nil
}

// ReadLink returns the target of a symbolic link. EINVAL for other files.
func (f *Tree) ReadLink(ctx context.Context, i Ino) (string, error) {
	var target []byte
	err := f.st.View(ctx, func(tx *store.Tx) error {
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
	var out []DirEntry
	err := f.st.View(ctx, func(tx *store.Tx) error {
		if _, err := getDir(tx, dir); err != nil {
			return err
		}
		err := tx.Scan(indexKey(dir, cookie), typeEnd(uint64(dir), typeIndex), func(k store.Key, v []byte) (bool, error) {
			es, err := parseEntries(v)
			if err != nil || len(es) != 1 {
				return false, damaged("directory %d, index %d: %v", dir, k.Sub, err)
			}
			out = append(out, DirEntry{Name: es[0].name, Ino: es[0].ino, Type: uint32(es[0].kind) << 12, Next: k.Sub + 1})
			return len(out) < limit, nil
		})
		if err != nil || !attrs {
			return err
		}
		for i := range out {
			n, err := getInode(tx, out[i].Ino)
			if err != nil {
				return damaged("directory %d: %q: inode %d: %v", dir, out[i].Name, out[i].Ino, err)
			}
			out[i].Attr = n.attr(out[i].Ino)
		}
		return nil
	})
	if attrs {
		for i := range out {
			f.overlay(&out[i].Attr)
		}
	}
	return out, wrap(err)
}

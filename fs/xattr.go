package fs

import (
	"context"
	"encoding/binary"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// Flags of SetXattr, as setxattr has them.
const (
	XattrCreate  = 1
	XattrReplace = 2
)

const (
	// MaxXattr is the largest value of an extended attribute, in bytes.
	MaxXattr = 64 << 10
	// maxXattrList is the most that all names of one file take, in bytes.
	maxXattrList = 64 << 10
	// xattrPart is the most one item holds of name and value, in bytes.
	xattrPart = 2560
)

// The first part of an attribute is
//
//	u8 length of the name | u32 length of the value | name | value...
//
// and the further ones go on with the value.
const xattrFixed = 5

// GetXattr returns an extended attribute. ENODATA.
func (f *Tree) GetXattr(ctx context.Context, i Ino, name string) ([]byte, error) {
	var out []byte
	err := f.view(ctx, func(tx *store.Tx) error {
		if _, err := getInode(tx, i); err != nil {
			return err
		}
		v, ok, err := f.getXattr(tx, i, name)
		if err == nil && !ok {
			err = syscall.ENODATA
		}
		out = v
		return err
	})
	return out, wrap(err)
}

func (f *Tree) getXattr(tx *store.Tx, i Ino, name string) (value []byte, ok bool, err error) {
	hash := f.hash(name)
	first, ok, err := tx.Get(xattrKey(i, hash, 0))
	if err != nil || !ok {
		return nil, false, err
	}
	got, size, rest, err := parseXattr(first)
	if err != nil || got != name {
		return nil, false, err
	}
	value = append([]byte(nil), rest...)
	for part := 1; len(value) < size; part++ {
		b, ok, err := tx.Get(xattrKey(i, hash, part))
		if err != nil {
			return nil, false, err
		}
		if !ok || len(b) == 0 || len(b) > size-len(value) {
			return nil, false, damaged("inode %d: part %d of an extended attribute", i, part)
		}
		value = append(value, b...)
	}
	return value, true, nil
}

func parseXattr(b []byte) (name string, size int, rest []byte, err error) {
	if len(b) < xattrFixed || b[0] == 0 || len(b) < xattrFixed+int(b[0]) {
		return "", 0, nil, damaged("extended attribute of %d bytes", len(b))
	}
	size = int(binary.BigEndian.Uint32(b[1:]))
	rest = b[xattrFixed+int(b[0]):]
	if size > MaxXattr || len(rest) > size {
		return "", 0, nil, damaged("extended attribute of %d bytes", size)
	}
	return string(b[xattrFixed : xattrFixed+int(b[0])]), size, rest, nil
}

// SetXattr sets an extended attribute. EEXIST and ENODATA by the flags, ERANGE
// for a name and E2BIG for a value that is too long, ENOSPC for too many.
func (f *Tree) SetXattr(ctx context.Context, i Ino, name string, value []byte, flags uint32) error {
	switch {
	case name == "" || len(name) > MaxName:
		return syscall.ERANGE
	case len(value) > MaxXattr:
		return syscall.E2BIG
	}
	return f.update(ctx, func(tx *store.Tx) error {
		n, err := getInode(tx, i)
		if err != nil {
			return err
		}
		if err := f.setXattr(tx, i, &n, name, value, flags); err != nil {
			return err
		}
		n.ctime = now()
		return putInode(tx, i, n)
	})
}

func (f *Tree) setXattr(tx *store.Tx, i Ino, n *inode, name string, value []byte, flags uint32) error {
	_, exists, err := f.getXattr(tx, i, name)
	switch {
	case err != nil:
		return err
	case exists && flags&XattrCreate != 0:
		return syscall.EEXIST
	case !exists && flags&XattrReplace != 0:
		return syscall.ENODATA
	}
	if err := f.roomForXattr(tx, i, name, exists); err != nil {
		return err
	}
	switch {
	case name == aclAccess:
		return f.setACL(tx, i, n, value)
	case name == aclDefault && !n.isDir():
		return syscall.EACCES
	case name == aclDefault:
		if _, err := parseACL(value); err != nil {
			return err
		}
	}
	return f.replaceXattr(tx, i, name, value)
}

func (f *Tree) replaceXattr(tx *store.Tx, i Ino, name string, value []byte) error {
	if err := f.deleteXattr(tx, i, name); err != nil {
		return err
	}
	return f.putXattr(tx, i, name, value)
}

// roomForXattr refuses a name too many, and one whose hash is taken: 56 bits of
// a keyed hash do not collide by chance or by design.
func (f *Tree) roomForXattr(tx *store.Tx, i Ino, name string, exists bool) error {
	if exists {
		return nil
	}
	if _, taken, err := tx.Get(xattrKey(i, f.hash(name), 0)); err != nil || taken {
		return firstErr(err, syscall.ENOSPC)
	}
	names, err := listXattr(tx, i)
	if err != nil {
		return err
	}
	size := len(name) + 1
	for _, n := range names {
		size += len(n) + 1
	}
	if size > maxXattrList {
		return syscall.ENOSPC
	}
	return nil
}

func firstErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *Tree) putXattr(tx *store.Tx, i Ino, name string, value []byte) error {
	b := binary.BigEndian.AppendUint32([]byte{byte(len(name))}, uint32(len(value)))
	b = append(b, name...)
	b = append(b, value...)
	hash := f.hash(name)
	for part := 0; len(b) > 0; part++ {
		n := min(len(b), xattrPart)
		if err := tx.Put(xattrKey(i, hash, part), b[:n:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// deleteXattr deletes all parts of an attribute, if there are any.
func (f *Tree) deleteXattr(tx *store.Tx, i Ino, name string) error {
	hash := f.hash(name)
	var keys []store.Key
	err := tx.Scan(xattrKey(i, hash, 0), xattrKey(i, hash, 0xff), func(k store.Key, _ []byte) (bool, error) {
		keys = append(keys, k)
		return true, nil
	})
	for _, k := range keys {
		err = firstErr(err, tx.Delete(k))
	}
	return err
}

// RemoveXattr removes an extended attribute. ENODATA.
func (f *Tree) RemoveXattr(ctx context.Context, i Ino, name string) error {
	return f.updateFreeing(ctx, func(tx *store.Tx) error {
		n, err := getInode(tx, i)
		if err != nil {
			return err
		}
		if _, ok, err := f.getXattr(tx, i, name); err != nil || !ok {
			return firstErr(err, syscall.ENODATA)
		}
		if err := f.deleteXattr(tx, i, name); err != nil {
			return err
		}
		n.ctime = now()
		return putInode(tx, i, n)
	})
}

// ListXattr returns the names of all extended attributes of a file.
func (f *Tree) ListXattr(ctx context.Context, i Ino) ([]string, error) {
	var names []string
	err := f.view(ctx, func(tx *store.Tx) (err error) {
		if _, err := getInode(tx, i); err != nil {
			return err
		}
		names, err = listXattr(tx, i)
		return err
	})
	return names, wrap(err)
}

func listXattr(tx *store.Tx, i Ino) ([]string, error) {
	var names []string
	err := tx.Scan(store.Key{Object: uint64(i), Type: typeXattr}, typeEnd(uint64(i), typeXattr), func(k store.Key, v []byte) (bool, error) {
		if k.Sub&0xff != 0 {
			return true, nil
		}
		name, _, _, err := parseXattr(v)
		names = append(names, name)
		return true, err
	})
	return names, err
}

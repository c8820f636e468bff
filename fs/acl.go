package fs

import (
	"encoding/binary"

	"github.com/coffer-fs/coffer/store"
)

// Extended attributes that hold access control lists, in the kernel's form: a
// version and entries of tag, permissions and id, all little-endian. Who may do
// what by them is the kernel's business; what is done here is what the kernel
// leaves to filesystems: keeping mode and list the same, and inheriting.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

const (
	aclVersion   = 2
	aclHeader    = 4
	aclEntrySize = 8
)

// Tags of entries.
const (
	aclUserObj  = 0x01
	aclGroupObj = 0x04
	aclMask     = 0x10
	aclOther    = 0x20
)

// acl is a list as it is stored.
type acl []byte

func parseACL(b []byte) (acl, error) {
	if len(b) < aclHeader || (len(b)-aclHeader)%aclEntrySize != 0 || binary.LittleEndian.Uint32(b) != aclVersion {
		return nil, errInval
	}
	a := acl(b)
	for _, tag := range []uint16{aclUserObj, aclGroupObj, aclOther} {
		if a.find(tag) < 0 {
			return nil, errInval
		}
	}
	return a, nil
}

// find returns where the permissions of the entry with the tag are, or -1.
func (a acl) find(tag uint16) int {
	for i := aclHeader; i < len(a); i += aclEntrySize {
		if binary.LittleEndian.Uint16(a[i:]) == tag {
			return i + 2
		}
	}
	return -1
}

// classes returns where the permissions of owner, group and others are: those of
// the group class are the mask's if there is one.
func (a acl) classes() [3]int {
	group := a.find(aclMask)
	if group < 0 {
		group = a.find(aclGroupObj)
	}
	return [3]int{a.find(aclUserObj), group, a.find(aclOther)}
}

// mode is the permissions that the list comes to.
func (a acl) mode() (m uint32) {
	for _, at := range a.classes() {
		m = m<<3 | uint32(binary.LittleEndian.Uint16(a[at:]))&7
	}
	return m
}

// withMode is the list after a chmod.
func (a acl) withMode(m uint32) acl {
	out := append(acl(nil), a...)
	for i, at := range out.classes() {
		binary.LittleEndian.PutUint16(out[at:], uint16(m>>(6-3*i)&7))
	}
	return out
}

// minimal reports whether the list says no more than a mode does.
func (a acl) minimal() bool { return len(a) == aclHeader+3*aclEntrySize }

// setACL stores the access list of an inode, whose mode it changes.
func (f *Tree) setACL(tx *store.Tx, i Ino, n *inode, value []byte) error {
	a, err := parseACL(value)
	if err != nil {
		return err
	}
	n.mode = n.mode&^0o777 | a.mode()
	if a.minimal() {
		return f.deleteXattr(tx, i, aclAccess)
	}
	return f.replaceXattr(tx, i, aclAccess, a)
}

// chmodACL has the access list of an inode follow its mode.
func (f *Tree) chmodACL(tx *store.Tx, i Ino, n *inode) error {
	v, ok, err := f.getXattr(tx, i, aclAccess)
	if err != nil || !ok {
		return err
	}
	a, err := parseACL(v)
	if err != nil {
		return damaged("inode %d: access control list of %d bytes", i, len(v))
	}
	return f.replaceXattr(tx, i, aclAccess, a.withMode(n.mode))
}

// inheritACL gives a new inode what the default list of its directory says, or
// applies the umask where there is none.
func (f *Tree) inheritACL(tx *store.Tx, dir, i Ino, n *inode, umask uint32) error {
	v, ok, err := f.getXattr(tx, dir, aclDefault)
	if err != nil {
		return err
	}
	if !ok {
		n.mode &^= umask & 0o777
		return nil
	}
	a, err := parseACL(v)
	if err != nil {
		return damaged("inode %d: default access control list of %d bytes", dir, len(v))
	}
	n.mode = n.mode&^0o777 | n.mode&a.mode()
	if !a.minimal() {
		if err := f.replaceXattr(tx, i, aclAccess, a.withMode(n.mode)); err != nil {
			return err
		}
	}
	if n.isDir() {
		return f.replaceXattr(tx, i, aclDefault, a)
	}
	return nil
}

package mount

import (
	"errors"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// labelName is what SELinux keeps labels in. Where there is none, ls takes "not
// supported" for the answer for all files, and asks for the next one otherwise.
const labelName = "security.selinux"

// listPrefix begins the names of what access control lists are kept in.
const listPrefix = "system.posix_acl_"

// hidden reports whether an extended attribute is none on this mount.
func (b *bridge) hidden(name string) bool { return b.noACL && strings.HasPrefix(name, listPrefix) }

func (b *bridge) GetXAttr(_ <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if b.hidden(name) {
		return 0, fuse.Status(syscall.EOPNOTSUPP)
	}
	br, i := b.at(in.NodeId)
	v, err := br.GetXattr(background, i, name)
	if name == labelName && errors.Is(err, syscall.ENODATA) {
		return 0, fuse.Status(syscall.EOPNOTSUPP)
	}
	if err != nil {
		return 0, b.status("getxattr", in.NodeId, err)
	}
	return answer(dest, v)
}

// answer copies v, or says how much room it takes.
func answer(dest, v []byte) (uint32, fuse.Status) {
	if len(dest) < len(v) {
		return uint32(len(v)), fuse.ERANGE
	}
	return uint32(copy(dest, v)), fuse.OK
}

func (b *bridge) ListXAttr(_ <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	br, i := b.at(in.NodeId)
	names, err := br.ListXattr(background, i)
	if err != nil {
		return 0, b.status("listxattr", in.NodeId, err)
	}
	var list strings.Builder
	for _, n := range names {
		if b.hidden(n) {
			continue
		}
		list.WriteString(n)
		list.WriteByte(0)
	}
	return answer(dest, []byte(list.String()))
}

func (b *bridge) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, data []byte) fuse.Status {
	if b.hidden(name) {
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	br, i := b.at(in.NodeId)
	return b.status("setxattr", in.NodeId, br.SetXattr(background, i, name, data, in.Flags))
}

func (b *bridge) RemoveXAttr(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if b.hidden(name) {
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	br, i := b.at(in.NodeId)
	return b.status("removexattr", in.NodeId, br.RemoveXattr(background, i, name))
}

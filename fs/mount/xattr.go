package mount

import (
	"errors"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/coffer-fs/coffer/fs"
)

// labelName is what SELinux keeps labels in. Where there is none, ls takes "not
// supported" for the answer for all files, and asks for the next one otherwise.
const labelName = "security.selinux"

func (b *bridge) GetXAttr(_ <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	v, err := b.t.GetXattr(background, fs.Ino(in.NodeId), name)
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
	names, err := b.t.ListXattr(background, fs.Ino(in.NodeId))
	if err != nil {
		return 0, b.status("listxattr", in.NodeId, err)
	}
	var list strings.Builder
	for _, n := range names {
		list.WriteString(n)
		list.WriteByte(0)
	}
	return answer(dest, []byte(list.String()))
}

func (b *bridge) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, data []byte) fuse.Status {
	return b.status("setxattr", in.NodeId, b.t.SetXattr(background, fs.Ino(in.NodeId), name, data, in.Flags))
}

func (b *bridge) RemoveXAttr(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return b.status("removexattr", in.NodeId, b.t.RemoveXattr(background, fs.Ino(in.NodeId), name))
}

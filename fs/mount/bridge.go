package mount

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
)

// bridge turns requests of the kernel into calls of the trees that it shows.
//
// Requests are not cancelled when a signal interrupts who made them: none of
// them waits for anything but the host, and a write that was half made would be
// worse than one that is late.
type bridge struct {
	fuse.RawFileSystem
	logger   *slog.Logger
	server   *fuse.Server // set by Init, before any request
	branches []*branch    // by index, the first one's root is the mount's; constant
	noACL    bool         // see Options; constant
}

func newBridge(f *fs.FS, l *slog.Logger) *bridge {
	return &bridge{RawFileSystem: fuse.NewDefaultRawFileSystem(), logger: l, branches: newBranches(f)}
}

// at gives the tree that a node is in, and its number there.
func (b *bridge) at(node uint64) (*branch, fs.Ino) {
	if i := node >> indexShift; i < uint64(len(b.branches)) {
		return b.branches[i], fs.Ino(node & store.MaxObject)
	}
	return b.branches[0], fs.Ino(node) // nobody was told of such a node: there is none
}

var background = context.Background()

// status is the number the kernel gets for err. Damage and failures are logged,
// because the number does not tell them apart.
func (b *bridge) status(op string, node uint64, err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	no := fs.Errno(err)
	if no == syscall.EIO || errors.Is(err, store.ErrReadOnly) {
		b.logger.Error("request failed", "op", op, "inode", node, "error", err)
	}
	return fuse.Status(no)
}

func (b *bridge) String() string { return "coffer" }

func (b *bridge) Init(s *fuse.Server) { b.server = s }

func (b *bridge) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	br, dir := b.at(in.NodeId)
	br, a, err := br.lookup(dir, name)
	if errors.Is(err, syscall.ENOENT) && br.exists(dir) {
		out.SetEntryTimeout(cacheFor) // node id 0: the kernel remembers that there is none
		return fuse.OK
	}
	if err != nil {
		return b.status("lookup", in.NodeId, err)
	}
	br.entry(out, a)
	return fuse.OK
}

func (b *bridge) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	br, i := b.at(in.NodeId)
	a, err := br.GetAttr(background, i)
	if err != nil {
		return b.status("getattr", in.NodeId, err)
	}
	out.SetTimeout(cacheFor)
	br.fillAttr(&out.Attr, a)
	return fuse.OK
}

func (b *bridge) Statx(_ <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	br, i := b.at(in.NodeId)
	a, err := br.GetAttr(background, i)
	if err != nil {
		return b.status("statx", in.NodeId, err)
	}
	out.AttrValid = uint64(cacheFor.Seconds())
	br.fillStatx(&out.Statx, a)
	return fuse.OK
}

func (b *bridge) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	br, i := b.at(in.NodeId)
	a, err := br.SetAttr(background, i, setAttr(in))
	if err != nil {
		return b.status("setattr", in.NodeId, err)
	}
	out.SetTimeout(cacheFor)
	br.fillAttr(&out.Attr, a)
	return fuse.OK
}

func (b *bridge) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	br, i := b.at(in.NodeId)
	target, err := br.ReadLink(background, i)
	return []byte(target), b.status("readlink", in.NodeId, err)
}

func (b *bridge) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	br, _ := b.at(in.NodeId)
	s, err := br.StatFS(background)
	if err != nil {
		return b.status("statfs", in.NodeId, err)
	}
	out.Bsize, out.Frsize, out.NameLen = fs.BlockSize, fs.BlockSize, fs.MaxName
	out.Blocks = uint64(s.Bytes / fs.BlockSize)
	out.Bfree = uint64(s.FreeBytes / fs.BlockSize)
	out.Bavail = out.Bfree
	out.Files, out.Ffree = s.Inodes, s.FreeInodes
	return fuse.OK
}

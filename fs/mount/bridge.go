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

// bridge turns requests of the kernel into calls of fs.Tree.
//
// Requests are not cancelled when a signal interrupts who made them: none of
// them waits for anything but the host, and a write that was half made would be
// worse than one that is late.
type bridge struct {
	fuse.RawFileSystem
	t       *fs.Tree
	logger  *slog.Logger
	server  *fuse.Server // set by Init, before any request
	handles *handles
	known   known
}

func newBridge(t *fs.Tree, l *slog.Logger) *bridge {
	b := &bridge{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), t: t, logger: l,
		handles: newHandles(t), known: known{count: map[fs.Ino]uint64{}},
	}
	t.KeepKnown(b.known.has)
	return b
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
	a, err := b.t.Lookup(background, fs.Ino(in.NodeId), name)
	if errors.Is(err, syscall.ENOENT) && b.exists(in.NodeId) {
		out.SetEntryTimeout(cacheFor) // node id 0: the kernel remembers that there is none
		return fuse.OK
	}
	if err != nil {
		return b.status("lookup", in.NodeId, err)
	}
	b.entry(out, a)
	return fuse.OK
}

// exists reports whether a directory that a lookup failed in is there itself.
func (b *bridge) exists(node uint64) bool {
	_, err := b.t.GetAttr(background, fs.Ino(node))
	return err == nil
}

func (b *bridge) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	a, err := b.t.GetAttr(background, fs.Ino(in.NodeId))
	if err != nil {
		return b.status("getattr", in.NodeId, err)
	}
	out.SetTimeout(cacheFor)
	fillAttr(&out.Attr, a)
	return fuse.OK
}

func (b *bridge) Statx(_ <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	a, err := b.t.GetAttr(background, fs.Ino(in.NodeId))
	if err != nil {
		return b.status("statx", in.NodeId, err)
	}
	out.AttrValid = uint64(cacheFor.Seconds())
	fillStatx(&out.Statx, a)
	return fuse.OK
}

func (b *bridge) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	a, err := b.t.SetAttr(background, fs.Ino(in.NodeId), setAttr(in))
	if err != nil {
		return b.status("setattr", in.NodeId, err)
	}
	out.SetTimeout(cacheFor)
	fillAttr(&out.Attr, a)
	return fuse.OK
}

func (b *bridge) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	target, err := b.t.ReadLink(background, fs.Ino(in.NodeId))
	return []byte(target), b.status("readlink", in.NodeId, err)
}

func (b *bridge) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	s, err := b.t.StatFS(background)
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

package mount

import (
	"io"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/coffer-fs/coffer/fs"
)

func (b *bridge) open(op string, node uint64, flags uint32, out *fuse.OpenOut) fuse.Status {
	h, err := b.t.OpenInode(background, fs.Ino(node))
	if err != nil {
		return b.status(op, node, err)
	}
	b.opened(h, flags, out)
	return fuse.OK
}

func (b *bridge) opened(h *fs.Handle, flags uint32, out *fuse.OpenOut) {
	out.Fh = b.handles.add(h, flags&syscall.O_ACCMODE != syscall.O_RDONLY)
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
}

func (b *bridge) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return b.open("open", in.NodeId, in.Flags, out)
}

func (b *bridge) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	st := b.make("create", &in.InHeader, name, fs.NewNode{Mode: syscall.S_IFREG | in.Mode&0o7777, Umask: in.Umask}, &out.EntryOut)
	if st != fuse.OK {
		return st
	}
	return b.open("create", out.NodeId, in.Flags, &out.OpenOut)
}

func (b *bridge) Tmpfile(_ <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	n := fs.NewNode{Mode: syscall.S_IFREG | in.Mode&0o7777, UID: in.Uid, GID: in.Gid, Umask: in.Umask}
	h, a, err := b.t.MakeUnnamed(background, fs.Ino(in.NodeId), n)
	if err != nil {
		return b.status("tmpfile", in.NodeId, err)
	}
	b.entry(&out.EntryOut, a)
	b.opened(h, in.Flags, &out.OpenOut)
	return fuse.OK
}

func (b *bridge) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if h := b.handles.remove(in.Fh); h != nil {
		_ = h.Close() // closed once only; nothing else can fail
	}
}

// Flush is not needed: what close(2) finds wrong was told by write(2). ENOSYS
// has the kernel not ask again.
func (b *bridge) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

func (b *bridge) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return b.status("fsync", in.NodeId, b.t.Sync(background))
}

func (b *bridge) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return b.status("fsyncdir", in.NodeId, b.t.Sync(background))
}

func (b *bridge) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	h := b.handles.get(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	n, err := h.ReadAt(background, buf[:min(len(buf), int(in.Size))], int64(in.Offset))
	if err != nil && err != io.EOF {
		return nil, b.status("read", in.NodeId, err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

func (b *bridge) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	h := b.handles.get(in.Fh)
	if h == nil {
		return 0, fuse.EBADF
	}
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
		if _, err := b.t.SetAttr(background, h.Ino(), fs.SetAttr{KillPriv: true}); err != nil {
			return 0, b.status("write", in.NodeId, err)
		}
	}
	n, err := h.WriteAt(background, data, int64(in.Offset))
	return uint32(n), b.status("write", in.NodeId, err)
}

func (b *bridge) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	h := b.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	return b.status("fallocate", in.NodeId, h.Allocate(background, in.Mode, int64(in.Offset), int64(in.Length)))
}

func (b *bridge) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	h := b.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	// The kernel asks without having sent what was written: have it do so, by
	// having it drop its cache. It would take new data for a hole.
	if b.handles.written(h.Ino()) {
		if st := b.server.InodeNotify(in.NodeId, 0, 0); st != fuse.OK && st != fuse.ENOENT {
			return st
		}
	}
	off, err := h.SeekData(background, int64(in.Offset), int(in.Whence))
	out.Offset = uint64(off)
	return b.status("lseek", in.NodeId, err)
}

func (b *bridge) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	from, to := b.handles.get(in.FhIn), b.handles.get(in.FhOut)
	if from == nil || to == nil {
		return 0, fuse.EBADF
	}
	const most = 1 << 30 // the answer has 32 bits
	n, err := b.t.CopyRange(background, from, int64(in.OffIn), to, int64(in.OffOut), int64(min(in.Len, most)))
	if n > 0 {
		err = nil
	}
	return uint32(n), b.status("copy_file_range", in.NodeId, err)
}

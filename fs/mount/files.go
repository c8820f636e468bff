package mount

import (
	"io"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/coffer-fs/coffer/fs"
)

// Open is not needed: requests name the inode. ENOSYS has the kernel send neither
// this nor Release again, and cache as if it had been told to keep everything.
func (b *bridge) Open(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.ENOSYS }

func (b *bridge) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	n := fs.NewNode{Mode: syscall.S_IFREG | in.Mode&0o7777, Umask: in.Umask}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return b.make("create", &in.InHeader, name, n, &out.EntryOut)
}

func (b *bridge) Tmpfile(_ <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	n := fs.NewNode{Mode: syscall.S_IFREG | in.Mode&0o7777, UID: in.Uid, GID: in.Gid, Umask: in.Umask}
	br, dir := b.at(in.NodeId)
	h, a, err := br.MakeUnnamed(background, dir, n)
	if err != nil {
		return b.status("tmpfile", in.NodeId, err)
	}
	br.entry(&out.EntryOut, a)
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	br.handles.put(h).release()
	return fuse.OK
}

// Release ends what Create began, and means nothing: see handles.
func (b *bridge) Release(<-chan struct{}, *fuse.ReleaseIn) {}

// Flush is not needed: what close(2) finds wrong was told by write(2). ENOSYS
// has the kernel not ask again.
func (b *bridge) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

func (b *bridge) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	br, _ := b.at(in.NodeId)
	return b.status("fsync", in.NodeId, br.Sync(background))
}

func (b *bridge) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	br, _ := b.at(in.NodeId)
	return b.status("fsyncdir", in.NodeId, br.Sync(background))
}

func (b *bridge) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	br, i := b.at(in.NodeId)
	var n int
	err := br.handles.with(i, func(h *fs.Handle) (err error) {
		n, err = h.ReadAt(background, buf[:min(len(buf), int(in.Size))], int64(in.Offset))
		return err
	})
	if err != nil && err != io.EOF {
		return nil, b.status("read", in.NodeId, err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

func (b *bridge) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	br, i := b.at(in.NodeId)
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
		if _, err := br.SetAttr(background, i, fs.SetAttr{KillPriv: true}); err != nil {
			return 0, b.status("write", in.NodeId, err)
		}
	}
	var n int
	err := br.handles.with(i, func(h *fs.Handle) (err error) {
		n, err = h.WriteAt(background, data, int64(in.Offset))
		return err
	})
	return uint32(n), b.status("write", in.NodeId, err)
}

// dropSetID clears what lets others run a file as its owner or group, when a user has it
// changed by a call of which the kernel does not say that it must go: it leaves that to
// us (CAP_HANDLE_KILLPRIV_V2), and goes by the mode that it knows.
func (b *bridge) dropSetID(by *fuse.InHeader, node uint64) fuse.Status {
	if by.Uid == 0 {
		return fuse.OK
	}
	br, i := b.at(node)
	a, err := br.GetAttr(background, i)
	if err == nil && a.Mode&(syscall.S_ISUID|syscall.S_ISGID) == 0 {
		return fuse.OK
	}
	if err == nil {
		_, err = br.SetAttr(background, i, fs.SetAttr{KillPriv: true})
	}
	if err != nil {
		return b.status("clear set-id", node, err)
	}
	if st := b.server.InodeNotify(node, -1, 0); st != fuse.ENOENT {
		return st
	}
	return fuse.OK
}

func (b *bridge) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if st := b.dropSetID(&in.InHeader, in.NodeId); st != fuse.OK {
		return st
	}
	br, i := b.at(in.NodeId)
	return b.status("fallocate", in.NodeId, br.handles.with(i, func(h *fs.Handle) error {
		return h.Allocate(background, in.Mode, int64(in.Offset), int64(in.Length))
	}))
}

func (b *bridge) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	// The kernel asks without having sent what was written: have it do so, by
	// having it drop its cache. It would take new data for a hole.
	if st := b.server.InodeNotify(in.NodeId, 0, 0); st != fuse.OK && st != fuse.ENOENT {
		return st
	}
	br, i := b.at(in.NodeId)
	return b.status("lseek", in.NodeId, br.handles.with(i, func(h *fs.Handle) error {
		off, err := h.SeekData(background, int64(in.Offset), int(in.Whence))
		out.Offset = uint64(off)
		return err
	}))
}

func (b *bridge) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	const most = 1 << 30 // the answer has 32 bits
	if st := b.dropSetID(&in.InHeader, in.NodeIdOut); st != fuse.OK {
		return 0, st
	}
	source, i := b.at(in.NodeId)
	target, o := b.at(in.NodeIdOut)
	var n int64
	err := source.handles.with(i, func(from *fs.Handle) error {
		return target.handles.with(o, func(to *fs.Handle) (err error) {
			n, err = fs.CopyRange(background, from, int64(in.OffIn), to, int64(in.OffOut), int64(min(in.Len, most)))
			if n > 0 {
				err = nil
			}
			return err
		})
	})
	return uint32(n), b.status("copy_file_range", in.NodeId, err)
}

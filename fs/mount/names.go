package mount

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/coffer-fs/coffer/fs"
)

func (b *bridge) make(op string, in *fuse.InHeader, name string, n fs.NewNode, out *fuse.EntryOut) fuse.Status {
	n.UID, n.GID = in.Uid, in.Gid
	br, dir := b.at(in.NodeId)
	a, err := br.Make(background, dir, name, n)
	if err != nil {
		return b.status(op, in.NodeId, err)
	}
	br.entry(out, a)
	return fuse.OK
}

func (b *bridge) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	mode := in.Mode
	if mode&syscall.S_IFMT == 0 {
		mode |= syscall.S_IFREG
	}
	return b.make("mknod", &in.InHeader, name, fs.NewNode{Mode: mode, Rdev: in.Rdev, Umask: in.Umask}, out)
}

func (b *bridge) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return b.make("mkdir", &in.InHeader, name, fs.NewNode{Mode: syscall.S_IFDIR | in.Mode&0o7777, Umask: in.Umask}, out)
}

func (b *bridge) Symlink(_ <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return b.make("symlink", in, name, fs.NewNode{Mode: syscall.S_IFLNK | 0o777, Target: target}, out)
}

func (b *bridge) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	br, dir := b.at(in.NodeId)
	from, i := b.at(in.Oldnodeid)
	if from != br {
		return fuse.EXDEV
	}
	a, err := br.Link(background, i, dir, name)
	if err != nil {
		return b.status("link", in.NodeId, err)
	}
	br.entry(out, a)
	return fuse.OK
}

func (b *bridge) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	br, dir := b.at(in.NodeId)
	return b.status("unlink", in.NodeId, br.Unlink(background, dir, name))
}

func (b *bridge) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	br, dir := b.at(in.NodeId)
	if br.busy(dir, name) {
		return fuse.EBUSY
	}
	return b.status("rmdir", in.NodeId, br.Rmdir(background, dir, name))
}

func (b *bridge) Rename(_ <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	br, dir := b.at(in.NodeId)
	to, newDir := b.at(in.Newdir)
	switch {
	case br != to:
		return fuse.EXDEV
	case br.busy(dir, name) || br.busy(newDir, newName):
		return fuse.EBUSY
	}
	return b.status("rename", in.NodeId, br.Rename(background, dir, name, newDir, newName, in.Flags))
}

// OpenDir is not needed, as Open is not.
func (b *bridge) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status {
	return fuse.ENOSYS
}

func (b *bridge) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return b.readDir(in, false, func(e fuse.DirEntry, _ *branch, _ fs.Attr) bool { return out.AddDirEntry(e) })
}

func (b *bridge) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return b.readDir(in, true, func(e fuse.DirEntry, br *branch, a fs.Attr) bool {
		entry := out.AddDirLookupEntry(e)
		if entry != nil && a.Ino != 0 {
			br.entry(entry, a)
		}
		return entry != nil
	})
}

const (
	// dotEntries come before those of the directory, which are counted from
	// there on.
	dotEntries = 2
	// readDirBatch is how many entries are fetched at once.
	readDirBatch = 128
)

// readDir gives entries to add, from the kernel's offset on, until it is full. An error
// behind the first of them waits for the next call: with it the kernel would drop the
// answer, and never forget the inodes that it was told of there.
func (b *bridge) readDir(in *fuse.ReadIn, attrs bool, add func(fuse.DirEntry, *branch, fs.Attr) bool) fuse.Status {
	br, dir := b.at(in.NodeId)
	for off := in.Offset; off < dotEntries; off++ {
		e := fuse.DirEntry{Name: [...]string{".", ".."}[off], Ino: in.NodeId, Mode: syscall.S_IFDIR, Off: off + 1}
		if !add(e, br, fs.Attr{}) {
			return fuse.OK
		}
	}
	cookie := max(in.Offset, dotEntries) - dotEntries
	told := false
	failed := func(err error) fuse.Status {
		if told {
			return fuse.OK
		}
		return b.status("readdir", in.NodeId, err)
	}
	for {
		es, err := br.ReadDir(background, dir, cookie, readDirBatch, attrs)
		if err != nil {
			return failed(err)
		}
		for _, e := range es {
			e.Attr.Ino = e.Ino
			at, a, err := br.seen(e.Attr)
			if err != nil {
				return failed(err)
			}
			if !add(fuse.DirEntry{Name: e.Name, Ino: at.node(a.Ino), Mode: e.Type, Off: e.Next + dotEntries}, at, a) {
				return fuse.OK
			}
			told = true
			cookie = e.Next
		}
		if len(es) < readDirBatch {
			return fuse.OK
		}
	}
}

package mount

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/fs"
)

// entry tells the kernel of an inode.
func (br *branch) entry(out *fuse.EntryOut, a fs.Attr) {
	br.known.add(a.Ino)
	out.NodeId = br.node(a.Ino)
	out.SetEntryTimeout(cacheFor)
	out.SetAttrTimeout(cacheFor)
	br.fillAttr(&out.Attr, a)
}

func (br *branch) fillAttr(out *fuse.Attr, a fs.Attr) {
	out.Ino, out.Size, out.Blocks = br.node(a.Ino), uint64(a.Size), sectors(a.Bytes)
	out.Mode, out.Nlink, out.Rdev = a.Mode, a.Links, a.Rdev
	out.Uid, out.Gid, out.Blksize = a.UID, a.GID, fs.BlockSize
	out.Atime, out.Atimensec = seconds(a.Atime)
	out.Mtime, out.Mtimensec = seconds(a.Mtime)
	out.Ctime, out.Ctimensec = seconds(a.Ctime)
}

// sectors is the unit of st_blocks.
func sectors(bytes int64) uint64 { return uint64(bytes+511) / 512 }

func seconds(t time.Time) (uint64, uint32) { return uint64(t.Unix()), uint32(t.Nanosecond()) }

func (br *branch) fillStatx(out *fuse.Statx, a fs.Attr) {
	out.Mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	out.Ino, out.Size, out.Blocks = br.node(a.Ino), uint64(a.Size), sectors(a.Bytes)
	out.Mode, out.Nlink, out.Blksize = uint16(a.Mode), a.Links, fs.BlockSize
	out.Uid, out.Gid = a.UID, a.GID
	out.RdevMajor, out.RdevMinor = unix.Major(uint64(a.Rdev)), unix.Minor(uint64(a.Rdev))
	for to, t := range map[*fuse.SxTime]time.Time{&out.Atime: a.Atime, &out.Mtime: a.Mtime, &out.Ctime: a.Ctime, &out.Btime: a.Btime} {
		to.Sec, to.Nsec = seconds(t)
	}
}

// setAttr translates the attributes to set. Changing the owner clears the
// set-id bits: the kernel leaves that to us (CAP_HANDLE_KILLPRIV_V2).
func setAttr(in *fuse.SetAttrIn) fs.SetAttr {
	s := fs.SetAttr{KillPriv: in.Valid&fuse.FATTR_KILL_SUIDGID != 0}
	if in.Valid&fuse.FATTR_MODE != 0 {
		s.Mode = &in.Mode
	}
	if in.Valid&fuse.FATTR_UID != 0 {
		s.UID, s.KillPriv = &in.Uid, true
	}
	if in.Valid&fuse.FATTR_GID != 0 {
		s.GID, s.KillPriv = &in.Gid, true
	}
	if in.Valid&fuse.FATTR_SIZE != 0 {
		size := int64(in.Size)
		s.Size = &size
	}
	s.Atime = setTime(in.Valid, fuse.FATTR_ATIME, fuse.FATTR_ATIME_NOW, in.Atime, in.Atimensec)
	s.Mtime = setTime(in.Valid, fuse.FATTR_MTIME, fuse.FATTR_MTIME_NOW, in.Mtime, in.Mtimensec)
	s.Ctime = setTime(in.Valid, fuse.FATTR_CTIME, 0, in.Ctime, in.Ctimensec)
	return s
}

func setTime(valid, set, now uint32, sec uint64, nsec uint32) *time.Time {
	if valid&set == 0 {
		return nil
	}
	t := time.Unix(int64(sec), int64(nsec))
	if valid&now != 0 {
		t = time.Now()
	}
	return &t
}

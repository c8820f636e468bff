package fs

import (
	"encoding/binary"
	"math"
	"syscall"
	"time"

	"github.com/coffer-fs/coffer/store"
)

const (
	inodeSize    = 1 + 1 + 6*4 + 2*8 + 4*8
	dirInodeSize = inodeSize + 8 + 8
)

// flagInline: the contents, or a first part of them, are in inline items.
const flagInline = 1

// inode is an inode item.
type inode struct {
	flags byte
	mode  uint32
	uid   uint32
	gid   uint32
	links uint32
	rdev  uint32
	size  int64
	bytes int64 // in extents and inline items

	atime, mtime, ctime, btime int64 // ns since 1970

	// Of directories.
	parent    Ino
	nextIndex uint64
}

func (n inode) isDir() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }
func (n inode) isReg() bool { return n.mode&syscall.S_IFMT == syscall.S_IFREG }
func (n inode) kind() byte  { return byte(n.mode >> 12 & 0xf) }

func (n inode) encode() []byte {
	b := append(make([]byte, 0, dirInodeSize), formatVersion, n.flags)
	for _, v := range []uint32{n.mode, n.uid, n.gid, n.links, n.rdev, 0} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	for _, v := range []int64{n.size, n.bytes, n.atime, n.mtime, n.ctime, n.btime} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	if n.isDir() {
		b = binary.BigEndian.AppendUint64(b, uint64(n.parent))
		b = binary.BigEndian.AppendUint64(b, n.nextIndex)
	}
	return b
}

func parseInode(b []byte) (inode, error) {
	if len(b) < inodeSize || b[0] != formatVersion {
		return inode{}, damaged("inode item of %d bytes", len(b))
	}
	u32 := func(i int) uint32 { return binary.BigEndian.Uint32(b[2+4*i:]) }
	i64 := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[26+8*i:])) }
	n := inode{
		flags: b[1], mode: u32(0), uid: u32(1), gid: u32(2), links: u32(3), rdev: u32(4),
		size: i64(0), bytes: i64(1), atime: i64(2), mtime: i64(3), ctime: i64(4), btime: i64(5),
	}
	want := inodeSize
	if n.isDir() {
		want = dirInodeSize
	}
	if len(b) != want || n.size < 0 || n.size > MaxFileSize || n.bytes < 0 || u32(5) != 0 || n.flags&^flagInline != 0 {
		return inode{}, damaged("inode item of %d bytes", len(b))
	}
	if n.isDir() {
		n.parent = Ino(binary.BigEndian.Uint64(b[inodeSize:]))
		n.nextIndex = binary.BigEndian.Uint64(b[inodeSize+8:])
	}
	return n, nil
}

// attr is the inode as others see it.
func (n inode) attr(i Ino) Attr {
	return Attr{
		Ino: i, Mode: n.mode, UID: n.uid, GID: n.gid, Links: n.links, Rdev: n.rdev,
		Size: n.size, Bytes: n.bytes,
		Atime: fromNanos(n.atime), Mtime: fromNanos(n.mtime), Ctime: fromNanos(n.ctime), Btime: fromNanos(n.btime),
	}
}

func fromNanos(ns int64) time.Time { return time.Unix(0, ns) }

// toNanos is t in ns since 1970, as near as 64 bits come to it.
func toNanos(t time.Time) int64 {
	switch sec := t.Unix(); {
	case sec > math.MaxInt64/1_000_000_000-1:
		return math.MaxInt64
	case sec < math.MinInt64/1_000_000_000+1:
		return math.MinInt64
	}
	return t.UnixNano()
}

func now() int64 { return time.Now().UnixNano() }

// getInode returns the inode item of i; ENOENT if there is none.
func getInode(tx *store.Tx, i Ino) (inode, error) {
	b, ok, err := tx.Get(inodeKey(i))
	if err != nil {
		return inode{}, err
	}
	if !ok {
		return inode{}, syscall.ENOENT
	}
	return parseInode(b)
}

func putInode(tx *store.Tx, i Ino, n inode) error { return tx.Put(inodeKey(i), n.encode()) }

// getDir is getInode for what must be a directory.
func getDir(tx *store.Tx, i Ino) (inode, error) {
	n, err := getInode(tx, i)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	return n, err
}

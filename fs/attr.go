package fs

import (
	"io/fs"
	"syscall"
	"time"
)

// Ino is an inode number. Numbers are never used again.
type Ino uint64

// RootIno is the root directory.
const RootIno Ino = 1

// Limits of a filesystem.
const (
	// MaxName is the longest name, in bytes: any but '/' and NUL.
	MaxName = 255
	// MaxTarget is the longest target of a symbolic link, in bytes.
	MaxTarget = 4095
	// MaxFileSize is the largest size of a file, in bytes.
	MaxFileSize = 1 << 53
	// MaxLinks is how many names a file can have.
	MaxLinks = 1 << 20
)

// BlockSize is the unit in which files are buffered, in bytes.
const BlockSize = 4096

// Attr are the attributes of a file.
type Attr struct {
	Ino   Ino
	Mode  uint32 // type and permissions, as in struct stat
	UID   uint32
	GID   uint32
	Links uint32
	Rdev  uint32 // of device nodes, as the kernel encodes it
	Size  int64  // bytes; of a directory, the number of its entries
	Bytes int64  // data in the volume, in bytes: holes take none

	Atime, Mtime, Ctime, Btime time.Time
}

// Type is the file type bits of the mode, S_IFREG and so on.
func (a Attr) Type() uint32 { return a.Mode & syscall.S_IFMT }

// IsDir reports whether a directory is described.
func (a Attr) IsDir() bool { return a.Type() == syscall.S_IFDIR }

// FileMode is the mode in the form of package io/fs.
func (a Attr) FileMode() fs.FileMode {
	m := fs.FileMode(a.Mode & 0o777)
	for _, b := range modeBits {
		if a.Mode&b.unix != 0 {
			m |= b.mode
		}
	}
	return m | knownTypes[a.Type()]
}

var modeBits = [...]struct {
	unix uint32
	mode fs.FileMode
}{{syscall.S_ISUID, fs.ModeSetuid}, {syscall.S_ISGID, fs.ModeSetgid}, {syscall.S_ISVTX, fs.ModeSticky}}

var knownTypes = map[uint32]fs.FileMode{
	syscall.S_IFREG:  0,
	syscall.S_IFDIR:  fs.ModeDir,
	syscall.S_IFLNK:  fs.ModeSymlink,
	syscall.S_IFIFO:  fs.ModeNamedPipe,
	syscall.S_IFSOCK: fs.ModeSocket,
	syscall.S_IFBLK:  fs.ModeDevice,
	syscall.S_IFCHR:  fs.ModeDevice | fs.ModeCharDevice,
}

// unixMode is the permission part of m as struct stat has it.
func unixMode(m fs.FileMode) uint32 {
	u := uint32(m.Perm())
	for _, b := range modeBits {
		if m&b.mode != 0 {
			u |= b.unix
		}
	}
	return u
}

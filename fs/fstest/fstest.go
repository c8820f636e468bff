// Package fstest states once what a filesystem does, and asks it of the Go API,
// of a mount, and of a plain directory: where the kernel's own filesystems do
// otherwise, the statement is wrong.
//
// It promises that its tests need nothing but a Subject and leave nothing but
// what Subject.Close takes away. It refuses to skip. It is imported by tests.
package fstest

import (
	"errors"
	"io"
	iofs "io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/fs"
)

// Subject is a filesystem under test. Names are relative to its root. The calls
// are those of package os, but modes are as in struct stat, and Remove is of
// files and empty directories.
type Subject interface {
	Open(name string, flag int, perm uint32) (File, error)
	Mkdir(name string, perm uint32) error
	Mknod(name string, mode uint32) error
	Symlink(target, name string) error
	Readlink(name string) (string, error)
	Link(old, new string) error
	Remove(name string) error
	Rename(old, new string, flags uint32) error
	Stat(name string) (fs.Attr, error)
	Lstat(name string) (fs.Attr, error)
	Chmod(name string, mode uint32) error
	Lchown(name string, uid, gid int) error
	Chtimes(name string, atime, mtime time.Time) error
	Truncate(name string, size int64) error
	GetXattr(name, attr string) ([]byte, error)
	SetXattr(name, attr string, value []byte, flags uint32) error
	RemoveXattr(name, attr string) error
	ListXattr(name string) ([]string, error)
	StatFS() (fs.Stat, error)
}

// File is an open file of a Subject.
type File interface {
	io.ReadWriteSeeker
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Allocate(mode uint32, off, size int64) error
	Sync() error
	Stat() (fs.Attr, error)
	ReadDir(n int) ([]iofs.DirEntry, error)
}

// Suite is what to run on which subjects. Each test gets an empty one.
type Suite struct {
	New func(t *testing.T) Subject
	// NewFull makes one with room for some MiB only; nil if that can't be.
	NewFull func(t *testing.T) Subject
	// NewAttached makes one with another filesystem at its directory "in", of mode
	// 01777, which has a hidden file "hidden"; nil if that can't be.
	NewAttached func(t *testing.T) Subject
}

// Run runs the suite. The tests take root, as a program in an enclave does.
func (s Suite) Run(t *testing.T) {
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(&tester{T: t, Subject: s.New(t)}) })
	}
	if s.NewFull != nil {
		t.Run("Full", func(t *testing.T) { testFull(&tester{T: t, Subject: s.NewFull(t)}) })
	}
	if s.NewAttached != nil {
		for name, test := range attachedTests {
			t.Run("Attached"+name, func(t *testing.T) { test(&tester{T: t, Subject: s.NewAttached(t)}) })
		}
	}
}

var tests = map[string]func(*tester){
	"Create": testCreate, "Exclusive": testExclusive, "OpenErrors": testOpenErrors, "Append": testAppend,
	"Truncate": testTruncate, "ReadWrite": testReadWrite, "Sparse": testSparse, "Huge": testHuge,
	"SeekData": testSeekData, "Punch": testPunch, "ZeroRange": testZeroRange, "Allocate": testAllocate,
	"Mkdir": testMkdir, "Remove": testRemove, "Links": testLinks, "UnlinkOpen": testUnlinkOpen,
	"RenameOpen": testRenameOpen, "Rename": testRename, "RenameDirs": testRenameDirs,
	"NoReplace": testNoReplace, "Exchange": testExchange, "OwnSubtree": testOwnSubtree,
	"Symlinks": testSymlinks, "SymlinkLoops": testSymlinkLoops, "Slashes": testSlashes, "Names": testNames,
	"Special": testSpecial, "Modes": testModes, "ChownClears": testChownClears, "SetgidDirs": testSetgidDirs,
	"Times": testTimes, "ChangeTimes": testChangeTimes, "Blocks": testBlocks,
	"Xattrs": testXattrs, "LargeXattrs": testLargeXattrs, "XattrFlags": testXattrFlags,
	"ReadDir": testReadDir, "ReadDirChanging": testReadDirChanging, "StatFS": testStatFS,
}

// tester is a test with its subject.
type tester struct {
	*testing.T
	Subject
}

// ok ends the test at an error.
func (t *tester) ok(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fails wants an error.
func (t *tester) fails(err error, want ...syscall.Errno) {
	t.Helper()
	for _, no := range want {
		if errors.Is(err, no) {
			return
		}
	}
	t.Errorf("error %v, want %v", err, want)
}

// write makes or overwrites a file.
func (t *tester) write(name, content string) {
	t.Helper()
	f := t.open(name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC)
	_, err := f.Write([]byte(content))
	t.ok(err)
	t.ok(f.Close())
}

func (t *tester) open(name string, flag int) File {
	t.Helper()
	f, err := t.Open(name, flag, 0o644)
	t.ok(err)
	return f
}

func (t *tester) read(name string) string {
	t.Helper()
	f := t.open(name, syscall.O_RDONLY)
	defer f.Close()
	b, err := io.ReadAll(f)
	t.ok(err)
	return string(b)
}

// holds wants a file's content.
func (t *tester) holds(name, want string) {
	t.Helper()
	if got := t.read(name); got != want {
		t.Errorf("%q holds %.40q of %d bytes, want %.40q of %d", name, got, len(got), want, len(want))
	}
}

func (t *tester) stat(name string) fs.Attr {
	t.Helper()
	a, err := t.Lstat(name)
	t.ok(err)
	return a
}

func (t *tester) gone(name string) {
	t.Helper()
	_, err := t.Lstat(name)
	t.fails(err, syscall.ENOENT)
}

func (t *tester) links(name string, want uint32) {
	t.Helper()
	if got := t.stat(name).Links; got != want {
		t.Errorf("%q has %d links, want %d", name, got, want)
	}
}

package local

import (
	"container/list"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

// maxOpenFiles bounds the segment files that are kept open for reading.
const maxOpenFiles = 64

// files keeps the segment files that were read last open. A file may be closed
// while it is read: the reads under way end well, a later one gets ErrClosed and
// asks again.
type files struct {
	dir *os.File

	mu     sync.Mutex
	byID   map[host.SegmentID]*list.Element // of *openSegment
	recent *list.List                       // the latest first
	closed bool
}

type openSegment struct {
	id    host.SegmentID
	file  *os.File
	dev   uint64
	inode uint64
}

func newFiles(dir *os.File) *files {
	return &files{dir: dir, byID: make(map[host.SegmentID]*list.Element), recent: list.New()}
}

// get returns a segment's file.
func (f *files) get(id host.SegmentID) (*os.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClosed
	}
	if e := f.byID[id]; e != nil {
		f.recent.MoveToFront(e)
		return e.Value.(*openSegment).file, nil
	}
	// Opened under the lock, so that it is forgotten by whoever deletes it.
	s, err := openSegmentFile(f.dir, id)
	if err != nil {
		return nil, err
	}
	f.byID[id] = f.recent.PushFront(s)
	if f.recent.Len() > maxOpenFiles {
		f.drop(f.recent.Back())
	}
	return s.file, nil
}

func openSegmentFile(dir *os.File, id host.SegmentID) (*openSegment, error) {
	file, err := openFile(dir, segmentName(id), unix.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, host.ErrNotFound
	} else if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		file.Close()
		return nil, err
	}
	return &openSegment{id, file, uint64(st.Dev), st.Ino}, nil
}

// forget closes a segment's file.
func (f *files) forget(id host.SegmentID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.byID[id]; e != nil {
		f.drop(e)
	}
}

// forgetReplaced closes a segment's file if its name now means another one.
func (f *files) forgetReplaced(id host.SegmentID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.byID[id]
	if e == nil {
		return
	}
	s := e.Value.(*openSegment)
	if st, err := statAt(f.dir, segmentName(id)); err != nil || uint64(st.Dev) != s.dev || st.Ino != s.inode {
		f.drop(e)
	}
}

// forgetAll closes all files.
func (f *files) forgetAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.recent.Len() > 0 {
		f.drop(f.recent.Back())
	}
}

// drop closes one file. f.mu is held.
func (f *files) drop(e *list.Element) {
	s := f.recent.Remove(e).(*openSegment)
	delete(f.byID, s.id)
	s.file.Close()
}

func (f *files) close() {
	f.forgetAll()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

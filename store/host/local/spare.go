package local

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

const (
	spareName = "spare"
	// maxSpares bounds the files that are kept for new segments.
	maxSpares = 8
)

// spareFile is the name of a deleted segment's file.
func spareFile(capacity int64, id host.SegmentID) string {
	return fmt.Sprintf("%d.%d", capacity, id)
}

// spares opens the pool and lists it. A file in it is named by its size; what is
// not named so is no spare.
func (t *tree) spares() (dir *os.File, names []string, err error) {
	dir, all, err := openList(t.root, spareName)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range all {
		if spareCapacity(name) > 0 {
			names = append(names, name)
		}
	}
	return dir, names, nil
}

func spareCapacity(name string) int64 {
	capacity, id, _ := strings.Cut(name, ".")
	n, err := strconv.ParseInt(capacity, 10, 64)
	if _, idErr := strconv.ParseUint(id, 10, 64); err != nil || idErr != nil {
		return 0
	}
	return n
}

// recycle gives a spare of that capacity the name of a new segment. It returns
// no file if there is none. If there are only others, one of them goes, so that
// the pool follows what is asked for.
func (t *tree) recycle(id host.SegmentID, capacity int64) (*os.File, error) {
	dir, names, err := t.spares()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	name, f := pickSpare(dir, names, capacity)
	if f == nil {
		if len(names) == maxSpares {
			removeAt(dir, names[0], 0)
		}
		return nil, nil
	}
	err = renameNew(dir, name, t.segments, segmentName(id))
	if err == nil {
		return f, nil
	}
	f.Close()
	if err == unix.ENOENT { // another segment, being made just now, took it
		return nil, nil
	}
	return nil, err
}

// pickSpare opens a spare of that capacity: one that was written all over, if
// there is one, because there a sync has nothing to write but data.
func pickSpare(dir *os.File, names []string, capacity int64) (name string, f *os.File) {
	for _, n := range names {
		if spareCapacity(n) != capacity {
			continue
		}
		s, err := openSpare(dir, n, capacity)
		if err != nil {
			removeAt(dir, n, 0)
			continue
		}
		if f != nil {
			f.Close()
		}
		if name, f = n, s; written(f, capacity) {
			break
		}
	}
	return name, f
}

// written reports whether no part of a file is still to be written for the first
// time.
func written(f *os.File, size int64) bool {
	hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
	return err == nil && hole >= size
}

// openSpare opens a spare and makes sure that it is one: of the size it says,
// and not a segment by another name.
func openSpare(dir *os.File, name string, capacity int64) (*os.File, error) {
	f, err := openFile(dir, name, unix.O_RDWR)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	if err == nil && (st.Size != capacity || st.Nlink != 1) {
		err = errors.New("not a spare")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// setSpare moves a segment's file into the pool, or removes it if that is full, if a
// point keeps the file by another name, or if nothing may be kept.
func (t *tree) setSpare(id host.SegmentID) error {
	st, err := statAt(t.segments, segmentName(id))
	if err == unix.ENOENT || err == nil && !isRegular(st) {
		return host.ErrNotFound
	} else if err != nil {
		return err
	}
	if t.forgets() {
		return removeAt(t.segments, segmentName(id), 0)
	}
	dir, names, err := t.spares()
	if err != nil {
		return err
	}
	defer dir.Close()
	if st.Size <= 0 || st.Size > host.MaxSegmentSize || len(names) >= maxSpares || st.Nlink != 1 {
		return removeAt(t.segments, segmentName(id), 0)
	}
	return renameOver(t.segments, segmentName(id), dir, spareFile(st.Size, id))
}

// removeSpares gives the pool's room back to the file system. It is durable if there
// is no error.
func (t *tree) removeSpares() (removed int, err error) {
	dir, names, err := t.spares()
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	for _, name := range names {
		err := removeAt(dir, name, 0)
		if err == unix.ENOENT { // a segment that is being made just now took it
			continue
		}
		if err != nil {
			return removed, err
		}
		removed++
	}
	return removed, dir.Sync()
}

package local

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/point"
)

// openPoint opens the point of that name or id.
func (t *tree) openPoint(name string) (*Point, error) {
	dir, names, err := t.pointNames()
	if errors.Is(err, os.ErrNotExist) {
		return nil, errNoPoint
	} else if err != nil {
		return nil, err
	}
	defer dir.Close()
	id, idErr := host.ParsePointID(name)
	if idErr != nil {
		if !slices.Contains(names, name) {
			return nil, errNoPoint
		}
		return openPointIn(dir, name)
	}
	for _, name := range names {
		p, err := openPointIn(dir, name)
		if err != nil {
			continue
		}
		if p.contents.Info.ID == id {
			return p, nil
		}
		p.Close()
	}
	return nil, errNoPoint
}

// openPointIn opens and locks a point.
func openPointIn(points *os.File, name string) (_ *Point, err error) {
	p := &Point{}
	if p.dir, err = openDir(points, name); errors.Is(err, os.ErrNotExist) {
		return nil, errNoPoint
	} else if err != nil {
		return nil, damaged(err)
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.lock, err = openFile(p.dir, manifestName, unix.O_RDONLY); err != nil {
		return nil, damaged(err)
	}
	if free, err := tryLock(p.lock, unix.LOCK_SH); err != nil {
		return nil, err
	} else if !free { // it is being dropped
		return nil, errNoPoint
	}
	m, err := readManifest(p.lock)
	if err != nil {
		return nil, damaged(err)
	}
	p.files = newFiles(p.dir)
	p.contents, err = contentsOf(p.dir, m)
	return p, err
}

func readManifest(f *os.File) (m point.Manifest, err error) {
	info, err := f.Stat()
	if err != nil {
		return m, err
	}
	if info.Size() > point.MaxSize {
		return m, fmt.Errorf("a manifest of %d bytes", info.Size())
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return m, err
	}
	return point.Parse(b)
}

// contentsOf is what a kept manifest says, as far as the files are there.
func contentsOf(dir *os.File, m point.Manifest) (c host.PointContents, err error) {
	c.Info = host.PointInfo{ID: m.ID, Name: m.Name, Taken: m.Taken, Expires: m.Expires}
	c.Records = m.Records
	for _, s := range m.Segments {
		st, err := statAt(dir, segmentName(s.ID))
		if err != nil || !isRegular(st) || st.Size < s.Size {
			return c, damaged(fmt.Errorf("segment %d of %d bytes is not there", s.ID, s.Size))
		}
		c.Segments = append(c.Segments, host.PointSegment{ID: s.ID, Size: s.Size, Mark: st.Ino})
	}
	return c, nil
}

package local

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/point"
)

// takePoint takes a point.
//
//  1. a directory by another name, with a locked manifest that is empty
//  2. links to all segments
//  3. with the fence: the records, and links to what became another one meanwhile
//  4. make the segments durable, write the manifest
//  5. the directory gets its name
func (t *tree) takePoint(ctx context.Context, o host.PointOptions) (_ *Point, err error) {
	if err := host.CheckPoint(o); err != nil {
		return nil, err
	}
	c := host.PointContents{Info: newPointInfo(o)}
	points, err := t.roomForPoint(ctx, c.Info.Name)
	if err != nil {
		return nil, err
	}
	defer points.Close()
	temporary := pointNewPrefix + c.Info.ID.String()
	p, err := beginPoint(ctx, points, temporary)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Close()
			removePoint(points, temporary)
		}
	}()
	links := map[host.SegmentID]uint64{}
	if err := t.link(p.dir, links); err != nil {
		return nil, err
	}
	if c, err = t.instant(ctx, p.dir, c, links); err != nil {
		return nil, err
	}
	p.contents = c
	if err := p.makeDurable(); err != nil {
		return nil, err
	}
	if err := renameNew(points, temporary, points, c.Info.Name); err == unix.EEXIST {
		return nil, errPointExists
	} else if err != nil {
		return nil, err
	}
	return p, points.Sync()
}

func newPointInfo(o host.PointOptions) (i host.PointInfo) {
	rand.Read(i.ID[:])
	i.Name = o.Name
	if i.Name == "" {
		i.Name = transferPrefix + i.ID.String()[:16]
	}
	i.Taken = time.Unix(0, time.Now().UnixNano())
	if o.Keep > 0 {
		i.Expires = i.Taken.Add(o.Keep)
	}
	return i
}

// roomForPoint opens the directory of points, if there may be one more.
func (t *tree) roomForPoint(ctx context.Context, name string) (*os.File, error) {
	if err := t.prepare(); err != nil {
		return nil, err
	}
	if err := mkdirAt(t.root, pointsName); err != nil && err != unix.EEXIST {
		return nil, err
	}
	t.sweepPoints()
	dir, names, err := t.pointNames()
	if err != nil {
		return nil, err
	}
	if slices.Contains(names, name) {
		err = errPointExists
	} else if len(names) >= host.MaxPoints {
		err = fmt.Errorf("there are %d points of %d: %w", len(names), host.MaxPoints, host.ErrNoSpace)
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// beginPoint makes the directory of a point, with a locked manifest. Meanwhile it has
// the lock of the directory of points, so that nobody takes it for what is left of one.
func beginPoint(ctx context.Context, points *os.File, name string) (*Point, error) {
	if err := lock(ctx, points, unix.LOCK_EX); err != nil {
		return nil, err
	}
	defer unlock(points)
	if err := mkdirAt(points, name); err != nil {
		return nil, err
	}
	dir, err := openDir(points, name)
	if err != nil {
		return nil, err
	}
	manifest, err := openFile(dir, manifestName, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err == nil {
		_, err = tryLock(manifest, unix.LOCK_SH)
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return &Point{dir: dir, lock: manifest, files: newFiles(dir)}, nil
}

// link makes the links in dir to be those of the segments: ids says which there are,
// and of which file.
func (t *tree) link(dir *os.File, ids map[host.SegmentID]uint64) error {
	names, err := readNames(t.segments)
	if err != nil {
		return err
	}
	seen := make(map[host.SegmentID]bool, len(names))
	for _, name := range names {
		id, ok := parseSegmentName(name)
		st, err := statAt(t.segments, name)
		if !ok || err != nil || !isRegular(st) {
			continue
		}
		if seen[id] = true; ids[id] == st.Ino {
			continue
		}
		if ids[id] != 0 {
			removeAt(dir, name, 0)
		}
		err = retry(func() error { return unix.Linkat(int(t.segments.Fd()), name, int(dir.Fd()), name, 0) })
		switch {
		case err == unix.ENOENT: // deleted just now
			delete(ids, id)
		case err == unix.EPERM || err == unix.EOPNOTSUPP || err == unix.ENOSYS:
			return fmt.Errorf("link segment %d: points are made of hard links, which only a file's owner may make, and not every file system has: %w", id, err)
		case err != nil:
			return fmt.Errorf("link segment %d: %w", id, noSpace(err))
		default:
			ids[id] = st.Ino
		}
	}
	for id := range ids {
		if !seen[id] {
			removeAt(dir, segmentName(id), 0)
			delete(ids, id)
		}
	}
	return nil
}

// instant is the one moment of the point.
func (t *tree) instant(ctx context.Context, dir *os.File, c host.PointContents, links map[host.SegmentID]uint64) (host.PointContents, error) {
	err := t.fence.take(ctx, func(before fenceState) (_ uint64, err error) {
		var epoch uint64
		if c.Records, epoch, err = t.allRecords(ctx); err != nil {
			return 0, err
		}
		if err := t.link(dir, links); err != nil {
			return 0, err
		}
		c.Segments, err = segmentsOf(dir, t.readTails(epoch))
		return before.epoch, err
	})
	return c, err
}

// allRecords reads every record, and the epoch, at once.
func (t *tree) allRecords(ctx context.Context) (records map[string][]byte, epoch uint64, err error) {
	err = t.catalog.view(ctx, recordsOf(&records, &epoch))
	return records, epoch, err
}

// segmentsOf describes the segments in a point's directory.
func segmentsOf(dir *os.File, ends map[host.SegmentID]int64) (list []host.PointSegment, err error) {
	names, err := readNames(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		id, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		st, err := statAt(dir, name)
		if err != nil {
			return nil, err
		}
		end, noted := ends[id]
		if !noted {
			end = min(st.Size, host.MaxSegmentSize)
		}
		list = append(list, host.PointSegment{ID: id, Size: min(end, st.Size), Mark: st.Ino})
	}
	if len(list) > host.MaxPointSegments {
		return nil, fmt.Errorf("there are %d segments, more than %d: %w", len(list), host.MaxPointSegments, host.ErrInvalid)
	}
	slices.SortFunc(list, func(a, b host.PointSegment) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

// makeDurable makes a point durable, but for its name.
func (p *Point) makeDurable() error {
	if err := syncSegments(p.dir, p.contents.Segments); err != nil {
		return err
	}
	m := point.Of(p.contents, nil)
	m.Expires = p.contents.Info.Expires
	if _, err := p.lock.WriteAt(m.Append(nil), 0); err != nil {
		return noSpace(err)
	}
	if err := p.lock.Sync(); err != nil {
		return err
	}
	return p.dir.Sync()
}

// syncSegments makes the files of segments durable. Of one whose bytes are on the
// disk that costs a system call.
func syncSegments(dir *os.File, list []host.PointSegment) error {
	for _, s := range list {
		f, err := openFile(dir, segmentName(s.ID), unix.O_RDONLY)
		if err == nil {
			err = errors.Join(fdatasync(f), f.Close())
		}
		if err != nil {
			return fmt.Errorf("sync segment %d: %w", s.ID, err)
		}
	}
	return nil
}

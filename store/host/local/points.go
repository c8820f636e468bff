package local

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/point"
)

// A point is a directory, points/NAME: the manifest, and the files of its segments
// by another name each. So nobody who deletes a segment needs to know of points: a
// file lasts as long as it has a name, and one that has two is not recycled.
//
// The instant is when whoever takes the point has the fence, as for a takeover: then
// no change is under way. Links are made before, and once more then, so that writers
// wait for little. A point is there when its directory has its name, which is the last
// step; what an earlier step made, or the dropping of a point left, has a name that
// begins with a dot and is removed by whoever takes or lists points, unless whoever
// makes it is alive: he has a lock on the manifest. So has whoever has a point open, and
// nobody drops it.
const (
	pointsName   = "points"
	manifestName = "manifest"
	// pointNewPrefix and pointOldPrefix begin the names of what is being made, and of
	// what is being dropped.
	pointNewPrefix = ".new."
	pointOldPrefix = ".old."
	// transferPrefix begins the names of points whose taker gave them none.
	transferPrefix = "transfer-"
)

var _ host.PointKeeper = (*Volume)(nil)

// TakePoint implements host.PointKeeper.
func (v *Volume) TakePoint(ctx context.Context, o host.PointOptions) (host.Point, error) {
	done, err := v.use(ctx)
	if err != nil {
		return nil, fmt.Errorf("take point: %w", err)
	}
	defer done()
	p, err := v.tree.takePoint(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("take point %q: %w", o.Name, err)
	}
	return p, nil
}

// OpenPoint implements host.PointKeeper.
func (v *Volume) OpenPoint(ctx context.Context, name string) (host.Point, error) {
	done, err := v.use(ctx)
	if err != nil {
		return nil, fmt.Errorf("open point: %w", err)
	}
	defer done()
	p, err := v.tree.openPoint(name)
	if err != nil {
		return nil, fmt.Errorf("open point %q: %w", name, err)
	}
	return p, nil
}

// Points implements host.PointKeeper.
func (v *Volume) Points(ctx context.Context) (infos []host.PointInfo, err error) {
	done, err := v.use(ctx)
	if err != nil {
		return nil, fmt.Errorf("list points: %w", err)
	}
	defer done()
	infos, _, err = v.tree.listPoints()
	if err != nil {
		return nil, fmt.Errorf("list points: %w", err)
	}
	return infos, nil
}

// DropPoint implements host.PointKeeper.
func (v *Volume) DropPoint(ctx context.Context, name string) error {
	done, err := v.use(ctx)
	if err == nil {
		defer done()
		err = v.tree.dropPoint(name)
	}
	if err != nil {
		return fmt.Errorf("drop point %q: %w", name, err)
	}
	return nil
}

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

// noSpace marks the lack of room as such.
func noSpace(err error) error {
	if isNoSpace(err) {
		return fmt.Errorf("%w: %w", host.ErrNoSpace, err)
	}
	return err
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

// pointNames opens the directory of points and lists it: nothing if there is none.
func (t *tree) pointNames() (dir *os.File, names []string, err error) {
	dir, all, err := openList(t.root, pointsName)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range all {
		if host.CheckRecord(name, nil) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return dir, names, nil
}

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

// dropPoint drops the point of that name or id.
func (t *tree) dropPoint(name string) error {
	p, err := t.openPoint(name)
	if errors.Is(err, ErrDamaged) {
		return t.dropDamaged(name)
	} else if err != nil {
		return err
	}
	defer p.Close()
	points, err := openDir(t.root, pointsName)
	if err != nil {
		return err
	}
	defer points.Close()
	return p.drop(points)
}

// drop drops an open point, unless somebody else has it open too.
func (p *Point) drop(points *os.File) error {
	free, err := tryLock(p.lock, unix.LOCK_EX)
	if err != nil {
		return err
	}
	if !free {
		return fmt.Errorf("it is being read: %w", host.ErrInUse)
	}
	old := pointOldPrefix + p.contents.Info.ID.String()
	if err := renameOver(points, p.contents.Info.Name, points, old); err != nil {
		return err
	}
	if err := points.Sync(); err != nil {
		return err
	}
	return removePoint(points, old)
}

// dropDamaged drops what has a point's name and is none.
func (t *tree) dropDamaged(name string) error {
	points, err := openDir(t.root, pointsName)
	if err != nil {
		return err
	}
	defer points.Close()
	return removePoint(points, name)
}

// removePoint removes the directory of a point. Only what a point consists of is
// removed: what else is in it stays, and so does the directory.
func removePoint(points *os.File, name string) error {
	dir, names, err := openList(points, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, n := range names {
		if _, ok := parseSegmentName(n); ok {
			err = errors.Join(err, removeAt(dir, n, 0))
		}
	}
	if err == nil && slices.Contains(names, manifestName) {
		err = removeAt(dir, manifestName, 0) // the last, since its lock says who is at it
	}
	if err == nil {
		err = removeAt(points, name, unix.AT_REMOVEDIR)
	}
	return err
}

// sweepPoints drops points that have expired, and removes what is left of points
// that were not finished or not wholly dropped. What can't be removed does no harm.
func (t *tree) sweepPoints() {
	points, err := openDir(t.root, pointsName)
	if err != nil {
		return
	}
	defer points.Close()
	if free, err := tryLock(points, unix.LOCK_EX); err != nil || !free {
		return // somebody else is at it
	}
	names, err := readNames(points)
	if err != nil {
		return
	}
	now := time.Now()
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, pointNewPrefix), strings.HasPrefix(name, pointOldPrefix):
			sweepRemains(points, name)
		case host.CheckRecord(name, nil) == nil:
			p, err := openPointIn(points, name)
			if err != nil {
				continue
			}
			if e := p.contents.Info.Expires; !e.IsZero() && now.After(e) {
				_ = p.drop(points)
			}
			p.Close()
		}
	}
}

// sweepRemains removes what nobody is at.
func sweepRemains(points *os.File, name string) {
	dir, err := openDir(points, name)
	if err != nil {
		return
	}
	defer dir.Close()
	lock, err := openFile(dir, manifestName, unix.O_RDONLY)
	if err == nil {
		defer lock.Close()
		if free, err := tryLock(lock, unix.LOCK_EX); err != nil || !free {
			return
		}
	}
	_ = removePoint(points, name)
}

// listPoints lists the points, and says how much they keep together.
func (t *tree) listPoints() (infos []host.PointInfo, heldBytes int64, err error) {
	t.sweepPoints()
	points, names, err := t.pointNames()
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	} else if err != nil {
		return nil, 0, err
	}
	defer points.Close()
	counted := map[uint64]bool{}
	for _, name := range names {
		p, err := openPointIn(points, name)
		if errors.Is(err, host.ErrNotFound) {
			continue
		} else if err != nil { // to be seen, and to be dropped
			infos = append(infos, host.PointInfo{Name: name})
			continue
		}
		i := p.contents.Info
		for _, s := range p.contents.Segments {
			size := t.heldBytes(p.dir, s)
			i.HeldBytes += size
			if !counted[s.Mark] {
				heldBytes += size
			}
			counted[s.Mark] = true
		}
		infos = append(infos, i)
		p.Close()
	}
	slices.SortFunc(infos, func(a, b host.PointInfo) int { return a.Taken.Compare(b.Taken) })
	return infos, heldBytes, nil
}

// heldText says what points keep, if they do, for who finds no room.
func (t *tree) heldText() string {
	_, held, err := t.listPoints()
	if err != nil || held == 0 {
		return ""
	}
	return fmt.Sprintf(" (points keep %d bytes of segments that were deleted)", held)
}

// heldBytes is the size of a point's segment if it is not in the volume any more.
func (t *tree) heldBytes(dir *os.File, s host.PointSegment) int64 {
	name := segmentName(s.ID)
	if now, err := statAt(t.segments, name); err == nil && now.Ino == s.Mark {
		return 0
	}
	st, err := statAt(dir, name)
	if err != nil {
		return 0
	}
	return st.Size
}

// allRecords reads every record, and the epoch, at once.
func (t *tree) allRecords(ctx context.Context) (records map[string][]byte, epoch uint64, err error) {
	err = t.catalog.view(ctx, recordsOf(&records, &epoch))
	return records, epoch, err
}

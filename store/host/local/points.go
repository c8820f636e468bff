package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
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

package local

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

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

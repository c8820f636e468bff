package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host/point"
)

// arrivedName is what "incoming" is called from when everything is there and durable
// until it is in its place. Whoever opens the volume meanwhile puts it there first.
const arrivedName = "arrived"

// Finish makes the volume of what has come, when all of it has: a crash leaves the
// volume as before, or as it is to be. Then Close has nothing left to do.
func (in *Incoming) Finish(ctx context.Context) error {
	err := in.finish(ctx)
	if err != nil {
		return fmt.Errorf("receive into %q: %w", in.path, noSpace(err))
	}
	return in.release()
}

func (in *Incoming) finish(ctx context.Context) error {
	if in.at != in.m.End() {
		return fmt.Errorf("%d of %d bytes have come: %w", in.m.Done(in.at), in.m.Bytes(), ErrPartial)
	}
	for _, s := range in.m.Segments { // what has no bytes did not come
		if s.Size > 0 || in.staged(s) > 0 {
			continue
		}
		f, err := openFile(in.dir, stageName(s), unix.O_RDWR|unix.O_CREAT)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return err
		}
	}
	if err := in.Flush(); err != nil {
		return err
	}
	if in.m.Whole() {
		return in.finishWhole()
	}
	if err := renameNew(in.root, incomingName, in.root, arrivedName); err != nil {
		return err
	}
	if err := in.root.Sync(); err != nil {
		return err
	}
	return in.tree.arrive(ctx)
}

// finishWhole makes a volume where there was none.
//
//  1. its directories, and the segments in their places
//  2. the catalog, under a name of its own
//  3. the catalog gets its name: from here on there is a volume
//  4. what is left of the transfer goes
func (in *Incoming) finishWhole() error {
	for _, name := range []string{segmentsName, spareName} {
		if err := mkdirAt(in.root, name); err != nil && err != unix.EEXIST {
			return err
		}
	}
	segments, err := openDir(in.root, segmentsName)
	if err != nil {
		return err
	}
	defer segments.Close()
	for _, s := range in.m.Segments {
		if err := place(in.dir, segments, s); err != nil {
			return err
		}
	}
	if err := errors.Join(segments.Sync(), in.root.Sync()); err != nil {
		return err
	}
	if err := in.removeCatalogs(); err != nil {
		return err
	}
	name := fmt.Sprintf("%s%d", catalogNewPrefix, os.Getpid())
	err = makeCatalog(in.root, name, func(tx *bbolt.Tx) error {
		if err := initCatalog(tx); err != nil {
			return err
		}
		return putReceived(tx, in.m)
	})
	if err == nil {
		err = renameNew(in.root, name, in.root, catalogName)
	}
	if err != nil {
		removeAt(in.root, name, 0)
		return err
	}
	if err := syncDirs(in.root, in.path); err != nil {
		return err
	}
	return removeStaged(in.root, incomingName)
}

// removeCatalogs removes catalogs that others began and did not finish.
func (in *Incoming) removeCatalogs() error {
	names, err := readNames(in.root)
	for _, name := range names {
		if strings.HasPrefix(name, catalogNewPrefix) {
			err = errors.Join(err, removeAt(in.root, name, 0))
		}
	}
	return err
}

// place puts a segment that came whole where segments are, unless it is there already.
func place(stage, segments *os.File, s point.Segment) error {
	err := renameOver(stage, segmentName(s.ID), segments, segmentName(s.ID))
	if err != unix.ENOENT {
		return err
	}
	if st, err := statAt(segments, segmentName(s.ID)); err != nil || !isRegular(st) || st.Size != s.Size {
		return damaged(fmt.Errorf("segment %d of %d bytes is gone", s.ID, s.Size))
	}
	return nil
}

// arrive brings a volume from the point that it is to the one that has come. Each step
// may come again after a crash, and nobody reads or writes the volume meanwhile but who
// had opened it before.
func (t *tree) arrive(ctx context.Context) error {
	if err := t.prepare(); err != nil {
		return err
	}
	return t.fence.take(ctx, func(before fenceState) (uint64, error) {
		dir, err := openDir(t.root, arrivedName)
		if errors.Is(err, os.ErrNotExist) { // somebody else was quicker
			return before.epoch, nil
		}
		if err == nil {
			defer dir.Close()
			err = t.arriveFrom(ctx, dir)
		}
		return before.epoch, err
	})
}

func (t *tree) arriveFrom(ctx context.Context, dir *os.File) error {
	m, err := stagedManifest(dir)
	if errors.Is(err, os.ErrNotExist) { // step 3 was cut off
		return t.removeArrived()
	} else if err != nil {
		return damaged(err)
	}
	if r, _, err := t.received(ctx); err != nil {
		return err
	} else if r.Point == m.ID { // so was it, or was not begun
		return t.removeArrived()
	}
	// 1. Segments.
	keep := make(map[string]bool, len(m.Segments))
	for _, s := range m.Segments {
		keep[segmentName(s.ID)] = true
		if s.From == 0 {
			err = place(dir, t.segments, s)
		} else {
			err = t.grow(dir, s)
		}
		if err != nil {
			return fmt.Errorf("segment %d: %w", s.ID, err)
		}
	}
	names, err := readNames(t.segments)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := parseSegmentName(name); ok && !keep[name] {
			if err := removeAt(t.segments, name, 0); err != nil {
				return err
			}
		}
	}
	// Notes of where appends ended are of segments as they were.
	if err := removeAt(t.root, tailsName, 0); err != nil && err != unix.ENOENT {
		return err
	}
	if err := errors.Join(t.segments.Sync(), t.root.Sync()); err != nil {
		return err
	}
	// 2. Records, and where they came from.
	err = t.catalog.update(ctx, recordBytes(m.Records), func(tx *bbolt.Tx) error {
		if _, err := epochOf(tx); err != nil {
			return err
		}
		return putReceived(tx, m)
	})
	if err != nil {
		return err
	}
	// 3. What is left of the transfer.
	return t.removeArrived()
}

func (t *tree) removeArrived() error {
	if err := removeStaged(t.root, arrivedName); err != nil {
		return err
	}
	t.files.forgetAll()
	return t.root.Sync()
}

// grow appends what came of a segment, and makes it end where it should.
func (t *tree) grow(stage *os.File, s point.Segment) error {
	f, err := openFile(t.segments, segmentName(s.ID), unix.O_RDWR)
	if err != nil {
		return damaged(err)
	}
	defer func() { f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Size == s.Size && s.From == s.Size {
		return nil
	}
	if st.Size > s.From && st.Nlink > 1 { // a point of this copy has what is cut off here
		own, err := t.copySegment(f, s.ID, s.From, s.From)
		if err != nil {
			return err
		}
		f.Close()
		f = own
	}
	if s.Size > s.From {
		tail, err := openFile(stage, stageName(s), unix.O_RDONLY)
		if err != nil {
			return damaged(err)
		}
		defer tail.Close()
		if _, err := io.Copy(io.NewOffsetWriter(f, s.From), io.NewSectionReader(tail, 0, s.Size-s.From)); err != nil {
			return err
		}
	}
	if err := f.Truncate(s.Size); err != nil {
		return err
	}
	return f.Sync()
}

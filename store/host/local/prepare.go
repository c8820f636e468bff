package local

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/coffer-fs/coffer/store/host"
)

const (
	// fillName is the spare that is being written.
	fillName = "filling"
	// fillBytes is how much of it is written at once.
	fillBytes = 1 << 20
)

// Prepare implements host.Preparer: it makes sure that count spares of that
// capacity were written all over. A file system on disk notes the first write to
// each place in its journal, so that the sync of an append costs about twice
// what it costs on a file that was written before.
func (w *writer) Prepare(ctx context.Context, capacity int64, count int) error {
	if capacity <= 0 || capacity > host.MaxSegmentSize {
		return fmt.Errorf("prepare spare of %d bytes: %w", capacity, host.ErrInvalid)
	}
	w.prepareMu.Lock()
	defer w.prepareMu.Unlock()
	for range count {
		done, err := w.tree.prepared(capacity, count)
		if done || err != nil {
			return err
		}
		if err := w.fill(ctx, capacity); err != nil {
			return fmt.Errorf("prepare spare of %d bytes: %w", capacity, err)
		}
	}
	return nil
}

// prepared reports whether so many spares were written, or no more can be kept.
func (t *tree) prepared(capacity int64, count int) (bool, error) {
	dir, names, err := t.spares()
	if err != nil {
		return false, err
	}
	defer dir.Close()
	have := 0
	for _, n := range names {
		f, err := openSpare(dir, n, spareCapacity(n))
		if err != nil {
			continue
		}
		if spareCapacity(n) == capacity && written(f, capacity) {
			have++
		}
		f.Close()
	}
	return have >= count || len(names) >= maxSpares, nil
}

// fill writes one spare. It is not in the pool before it is whole.
func (w *writer) fill(ctx context.Context, capacity int64) error {
	dir, names, err := w.tree.spares()
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := removeAt(dir, fillName, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := openFile(dir, fillName, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := zeros(ctx, f, capacity); err != nil {
		return errors.Join(err, removeAt(dir, fillName, 0))
	}
	return w.changing(ctx, func() error { return renameNew(dir, fillName, dir, freeSpareName(names, capacity)) })
}

// zeros fills f and makes that durable.
func zeros(ctx context.Context, f *os.File, size int64) error {
	if err := setAside(f, size); err != nil {
		return err
	}
	buf := make([]byte, fillBytes)
	for off := int64(0); off < size; off += fillBytes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := f.WriteAt(buf[:min(fillBytes, size-off)], off); err != nil {
			return err
		}
	}
	return fdatasync(f)
}

// freeSpareName is a name that no spare has. Spares that were segments are named
// by their numbers, which begin with 1 and are not used twice.
func freeSpareName(names []string, capacity int64) string {
	for id := host.MaxSegmentID; ; id-- {
		name := spareFile(capacity, id)
		taken := false
		for _, n := range names {
			taken = taken || n == name
		}
		if !taken {
			return name
		}
	}
}

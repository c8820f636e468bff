package s3

import (
	"context"
	"errors"
)

// maxSwept bounds what one sweep deletes; the next goes on.
const maxSwept = 100_000

// sweepOnce deletes what writers before this one left behind when they were cut
// off: objects that no head and no entry came to refer to. It lists, and so it is
// done in the background, once, and only where the volume was not released. It
// keeps the ends of every epoch, which fence its writer for good (see endHolder).
func (w *writer) sweepOnce(ctx context.Context) error {
	w.mu.Lock()
	due := w.sweep
	used := make(map[place]bool)
	for _, g := range w.state.segments {
		for _, e := range g.extents {
			used[place{kind: e.at.kind, epoch: e.at.epoch, number: e.at.number}] = true
		}
	}
	w.mu.Unlock()
	if !due {
		return nil
	}
	var names []string
	old := func(kind kindOfPlace, name string) (place, bool) {
		epoch, number, ok := parseName(name)
		at := place{kind: kind, epoch: epoch, number: number}
		return at, ok && epoch < w.epoch && !used[at]
	}
	err := w.volume.objects.list(ctx, dataPrefix, func(name string, _ int64) bool {
		if at, ok := old(inData, name); ok {
			names = append(names, at.object())
		}
		return len(names) < maxSwept
	})
	if err != nil {
		return err
	}
	entries, err := w.superfluous(ctx, old)
	if err != nil {
		return err
	}
	names = append(names, entries...)
	if err := w.volume.objects.delete(ctx, names); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sweep = len(names) >= maxSwept
	return nil
}

// superfluous names entries of epochs that are over, but for their ends: the last
// entry, and whichever before it proves to be one.
func (w *writer) superfluous(ctx context.Context, old func(kindOfPlace, string) (place, bool)) (names []string, err error) {
	var all []place // they come in order
	var sizes []int64
	err = w.volume.objects.list(ctx, logPrefix, func(name string, size int64) bool {
		if at, ok := old(inLog, name); ok {
			all, sizes = append(all, at), append(sizes, size)
		}
		return len(all) < maxSwept
	})
	if err != nil {
		return nil, err
	}
	for i, at := range all {
		end := i+1 == len(all) || all[i+1].epoch != at.epoch
		if !end && sizes[i] <= endSize {
			if end, err = w.mayBeEnd(ctx, at); err != nil {
				return nil, err
			}
		}
		if !end {
			names = append(names, at.object())
		}
	}
	return names, nil
}

// mayBeEnd reports whether an entry ends its epoch. One that can't be read may.
func (w *writer) mayBeEnd(ctx context.Context, at place) (bool, error) {
	e, err := w.volume.fetchEntry(ctx, at.epoch, at.number)
	if errors.Is(err, ErrAnswer) {
		return true, nil
	}
	return e != nil && e.kind == entryEnd, err
}

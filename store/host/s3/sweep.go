package s3

import (
	"context"
)

// maxSwept bounds what one sweep deletes; the next goes on.
const maxSwept = 100_000

// sweepOnce deletes what writers before this one left behind when they were cut
// off: objects that no head and no entry came to refer to. It lists, and so it is
// done in the background, once, and only where the volume was not released. It
// keeps the last entry of every epoch: the end that fences its writer for good.
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
	err := w.volume.objects.list(ctx, dataPrefix, func(name string) bool {
		if at, ok := old(inData, name); ok {
			names = append(names, at.object())
		}
		return len(names) < maxSwept
	})
	if err != nil {
		return err
	}
	var last place // the newest of its epoch so far: names come in order
	err = w.volume.objects.list(ctx, logPrefix, func(name string) bool {
		at, ok := old(inLog, name)
		if ok {
			if last.epoch == at.epoch && last != (place{}) {
				names = append(names, last.object())
			}
			last = at
		}
		return len(names) < maxSwept
	})
	if err != nil {
		return err
	}
	if err := w.volume.objects.delete(ctx, names); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sweep = len(names) >= maxSwept
	return nil
}

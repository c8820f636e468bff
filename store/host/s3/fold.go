package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/store/host"
)

const (
	// foldEntries and foldBytes are how many entries, and bytes in them, make a
	// new head worth its requests. lateEntries and lateBytes make commits wait
	// for it.
	foldEntries = 128
	foldBytes   = 16 << 20
	lateEntries = 8 * foldEntries
	lateBytes   = 4 * foldBytes
	// foldPause is between tries that fail.
	foldPause = 5 * time.Second
	// maxFolds is how many objects are made at once.
	maxFolds = 4
)

// fold is a run of a segment's extents that becomes one object.
type fold struct {
	id      host.SegmentID
	first   int // of the extents
	extents []extent
	object  place
}

func (f fold) size() (n uint32) {
	for _, e := range f.extents {
		n += e.size
	}
	return n
}

// planFolds gathers the bytes that are in entries, run by run. A run takes the
// objects before it along while they are no larger than twice what it has: so
// each byte is written a few times at most, and a segment has few objects.
func (s *state) planFolds() (folds []fold) {
	for id, g := range s.segments {
		for i := 0; i < len(g.extents); {
			if g.extents[i].at.kind != inLog {
				i++
				continue
			}
			first, size := i, uint32(0)
			for i < len(g.extents) && g.extents[i].at.kind == inLog && (i == first || size+g.extents[i].size <= partBytes) {
				size += g.extents[i].size
				i++
			}
			floor := 0
			if n := len(folds); n > 0 && folds[n-1].id == id {
				floor = folds[n-1].first + len(folds[n-1].extents)
			}
			for first > floor && g.extents[first-1].at.kind == inData && g.extents[first-1].size <= 2*size && size+g.extents[first-1].size <= partBytes {
				first--
				size += g.extents[first].size
			}
			folds = append(folds, fold{id: id, first: first, extents: slices.Clone(g.extents[first:i])})
		}
	}
	return folds
}

// foldInBackground makes a new head whenever it is worth it.
func (w *writer) foldInBackground(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.kicks:
		}
		if !w.foldPays() {
			continue
		}
		err := w.fold(ctx, false)
		if err == nil {
			err = w.sweepOnce(ctx)
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		w.volume.options.Logger.Warn("fold the journal", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(foldPause):
			w.kick()
		}
	}
}

// foldPays reports whether the journal is long enough, or something is to be swept.
func (w *writer) foldPays() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.entries >= w.volume.options.foldEntries || w.state.recentBytes >= foldBytes || w.sweep
}

// foldIfLate makes whoever commits wait where the journal has become long.
func (w *writer) foldIfLate(ctx context.Context) error {
	w.mu.Lock()
	late := w.entries >= lateEntries || w.state.recentBytes >= lateBytes
	w.mu.Unlock()
	if !late {
		return nil
	}
	return w.fold(ctx, false)
}

// fold puts what is in the journal into objects and the head, and deletes what
// nobody needs then:
//
//  1. make an object of each run of bytes that is in entries
//  2. replace the head, if it is still the one that is known
//  3. delete the entries, and the objects that were replaced
//
// Until step 2 all that was there before is there.
func (w *writer) fold(ctx context.Context, release bool) error {
	w.folding.Lock()
	defer w.folding.Unlock()
	w.mu.Lock()
	folds, logs, entries := w.state.planFolds(), len(w.logs), w.entries
	if entries == 0 && len(folds) == 0 && !release {
		w.mu.Unlock()
		return nil
	}
	w.mu.Unlock()
	if err := w.makeFolds(ctx, folds); err != nil {
		return err
	}
	w.mu.Lock()
	free := w.useFolds(folds)
	s := *w.state
	if release {
		s.held = false
	}
	head := s.encodeHead()
	w.mu.Unlock()
	if err := w.replaceHead(ctx, head); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	free = append(free, w.logs[:logs]...)
	w.logs = slices.Clone(w.logs[logs:])
	w.entries -= entries
	w.collect(free)
	return nil
}

// makeFolds makes the objects of folds.
func (w *writer) makeFolds(ctx context.Context, folds []fold) error {
	var group sync.WaitGroup
	slots := make(chan struct{}, maxFolds)
	errs := make([]error, len(folds))
	for i := range folds {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs[i] = w.makeFold(ctx, &folds[i])
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (w *writer) makeFold(ctx context.Context, f *fold) error {
	b := make([]byte, f.size())
	g := &segment{id: f.id, tail: uint32(len(b)), extents: f.extents}
	w.mu.Lock()
	_, pieces, err := w.state.plan(g, 0, b)
	w.mu.Unlock()
	if err == nil {
		err = w.volume.fetch(ctx, pieces)
	}
	if errors.Is(err, errAbsent) && w.isGone(f) {
		return nil
	}
	if err != nil {
		return lost(err)
	}
	f.object = place{kind: inData, epoch: w.epoch, number: w.numbers.Add(1)}
	return w.putObject(ctx, f.object, b)
}

// isGone reports whether what is to be folded was deleted meanwhile.
func (w *writer) isGone(f *fold) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !f.matches(w.state.segments[f.id])
}

// matches reports whether a segment still has what is to be folded.
func (f *fold) matches(g *segment) bool {
	n := f.first + len(f.extents)
	return g != nil && len(g.extents) >= n && slices.Equal(g.extents[f.first:n], f.extents)
}

// useFolds makes segments refer to the objects that were made. It returns those
// that are not needed once the head says so. Callers hold mu.
func (w *writer) useFolds(folds []fold) (free []place) {
	for _, f := range slices.Backward(folds) { // so that the places of earlier ones stay
		if f.object == (place{}) {
			continue
		}
		g := w.state.segments[f.id]
		if !f.matches(g) {
			free = append(free, f.object)
			continue
		}
		free = append(free, (&segment{extents: f.extents}).objects()...)
		n := *g
		n.extents = slices.Replace(slices.Clone(g.extents), f.first, f.first+len(f.extents), extent{f.size(), f.object})
		w.state.segments[f.id] = &n
	}
	w.state.forget()
	return free
}

// replaceHead replaces the head. If it is not the one that is known, an earlier
// try may have made it, which was not answered; else the volume is another's.
// Callers hold folding.
func (w *writer) replaceHead(ctx context.Context, head []byte) error {
	for range maxReloads {
		tag, err := w.volume.objects.put(ctx, headName, head, condition{match: w.tag})
		if err == nil {
			w.tag = tag
			return nil
		}
		if !isNewHead(err) {
			return err
		}
		now, err := w.volume.loadHead(ctx, "")
		if err != nil {
			return err
		}
		if now.epoch != w.epoch || now.holder.token != w.token {
			return w.fail(host.ErrFenced)
		}
		if w.tag = now.tag; bytes.Equal(now.raw, head) {
			return nil
		}
	}
	return fmt.Errorf("%w: the head changed %d times", ErrAnswer, maxReloads)
}

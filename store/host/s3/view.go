package s3

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/store/host"
)

// view is a state that was read, and the head that it came from.
type view struct {
	*state
	tag string // of the head
	raw []byte // the head
}

// maxReloads bounds how often the head may change while a volume is read.
const maxReloads = 64

// openHead sees whether there is a volume.
func (v *Volume) openHead(ctx context.Context) error {
	w, err := v.loadHead(ctx, "")
	if err != nil {
		return err
	}
	v.view = w
	return nil
}

// loadHead reads the head; errSame if it has that tag still.
func (v *Volume) loadHead(ctx context.Context, unless string) (*view, error) {
	b, tag, err := v.objects.get(ctx, headName, maxHead, unless)
	if errors.Is(err, errAbsent) {
		return nil, fmt.Errorf("%w (%w)", host.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	s, err := parseHead(b)
	if err != nil {
		return nil, err
	}
	return &view{s, tag, b}, nil
}

// followStep is how many entries are asked for at once, where there is one.
const followStep = 16

// follow makes the changes of the entries behind a state, up to the first that is
// not there. It gives the objects of those that it found, and whether the last is
// the epoch's end.
func (v *Volume) follow(ctx context.Context, s *state) (found []place, ended bool, err error) {
	for count := 1; ; count = followStep {
		entries, err := v.fetchEntries(ctx, s.epoch, s.next, count)
		if err != nil {
			return nil, false, err
		}
		for _, e := range entries {
			if e == nil {
				s.forget()
				return found, false, nil
			}
			if e.kind == entryChanges && (!s.held || e.token != s.holder.token) {
				return nil, false, fmt.Errorf("%w: entry %d of epoch %d is by another writer", ErrAnswer, e.index, e.epoch)
			}
			if _, err := s.apply(e); err != nil {
				return nil, false, err
			}
			if e.kind == entryEnd {
				s.forget()
				return found, true, nil
			}
			found = append(found, place{kind: inLog, epoch: e.epoch, number: e.index})
		}
	}
}

// fetchEntries reads so many entries at once; nil stands for one that is not
// there.
func (v *Volume) fetchEntries(ctx context.Context, epoch, index uint64, count int) ([]*entry, error) {
	entries, errs := make([]*entry, count), make([]error, count)
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() { entries[i], errs[i] = v.fetchEntry(ctx, epoch, index+uint64(i)) })
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, err
		}
		if entries[i] == nil {
			return entries[:i+1], nil
		}
	}
	return entries, nil
}

// fetchEntry reads an entry; nil if it is not there.
func (v *Volume) fetchEntry(ctx context.Context, epoch, index uint64) (*entry, error) {
	b, _, err := v.objects.get(ctx, logName(epoch, index), maxEntry, "")
	if errors.Is(err, errAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseEntry(b, epoch, index)
}

// refresh brings the view up to date, unless what is known is young enough. An
// entry that is not there may have been deleted: only an unchanged head says that
// it was never made. Callers hold mu.
func (v *Volume) refresh(ctx context.Context, force bool) error {
	if v.closed {
		return errClosed
	}
	if !force && !v.asked.IsZero() && time.Since(v.asked) < v.options.Stale {
		return ctx.Err()
	}
	if v.view == nil {
		if err := v.openHead(ctx); err != nil {
			return err
		}
	}
	for range maxReloads {
		now := time.Now()
		if _, _, err := v.follow(ctx, v.view.state); err != nil {
			return v.reread(ctx, err)
		}
		w, err := v.loadHead(ctx, v.view.tag)
		if errors.Is(err, errSame) {
			v.asked = now
			return nil
		}
		if err != nil {
			return err
		}
		v.view = w
	}
	return fmt.Errorf("%w: the head changed %d times", ErrAnswer, maxReloads)
}

// reread begins anew with the head after a failure, which may have left the view
// half changed.
func (v *Volume) reread(ctx context.Context, err error) error {
	v.view, v.asked = nil, time.Time{}
	if w, headErr := v.loadHead(ctx, ""); headErr == nil {
		v.view = w
	}
	return err
}

// Get implements host.Reader.
func (v *Volume) Get(ctx context.Context, name string) (host.Record, error) {
	if err := host.CheckRecord(name, nil); err != nil {
		return host.Record{}, fmt.Errorf("get record: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	err := v.refresh(ctx, false)
	if err == nil {
		return getRecord(v.view.records, name)
	}
	return host.Record{}, fmt.Errorf("get record %q: %w", name, err)
}

func getRecord(records map[string]record, name string) (host.Record, error) {
	r, ok := records[name]
	if !ok {
		return host.Record{}, fmt.Errorf("get record %q: %w", name, host.ErrNotFound)
	}
	return host.Record{Value: append([]byte{}, r.value...), Version: r.version.host()}, nil
}

// Segments implements host.Reader.
func (v *Volume) Segments(ctx context.Context) ([]host.SegmentInfo, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.refresh(ctx, false); err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	infos := make([]host.SegmentInfo, 0, len(v.view.segments))
	for id, g := range v.view.segments {
		infos = append(infos, host.SegmentInfo{ID: id, Size: int64(g.tail)})
	}
	return infos, nil
}

// Read implements host.Reader.
func (v *Volume) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (int, error) {
	if err := host.CheckSegment(id, off, len(p)); err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	n, err := v.read(ctx, id, off, p, false)
	if errors.Is(err, errAbsent) { // what was known is old: the segment was folded, or deleted
		n, err = v.read(ctx, id, off, p, true)
	}
	if err != nil {
		return n, fmt.Errorf("read segment %d, %d bytes at %d: %w", id, len(p), off, lost(err))
	}
	return n, nil
}

func (v *Volume) read(ctx context.Context, id host.SegmentID, off int64, p []byte, force bool) (int, error) {
	v.mu.Lock()
	err := v.refresh(ctx, force)
	var n int
	var pieces []piece
	if err == nil {
		n, pieces, err = v.view.plan(v.view.segments[id], off, p)
	}
	v.mu.Unlock()
	if err != nil && len(pieces) == 0 {
		return n, err
	}
	if fetchErr := v.fetch(ctx, pieces); fetchErr != nil {
		return 0, fetchErr
	}
	return n, err
}

// lost says that an object which should be there is not.
func lost(err error) error {
	if errors.Is(err, errAbsent) {
		return fmt.Errorf("%w: %v", ErrAnswer, err)
	}
	return err
}

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
)

// maxOpenAppenders is how many files of its segments a writer keeps open, as far
// as they have nothing to sync.
const maxOpenAppenders = 64

// writer is one acquisition of the volume.
type writer struct {
	tree  *tree
	epoch uint64
	lock  *os.File // the lock file, locked
	tails *tails
	// resumed: it goes on for a holder who may have made segments before.
	resumed bool

	prepareMu sync.Mutex // one Prepare or Forget; before mu

	mu       sync.RWMutex // shared by calls, exclusive for Release
	released bool

	state     sync.Mutex
	appenders map[host.SegmentID]*appender // guarded by state
	failed    error                        // the first failed sync; guarded by state
}

func newWriter(t *tree, epoch uint64, lock *os.File, n *tails) *writer {
	return &writer{tree: t, epoch: epoch, lock: lock, tails: n, appenders: make(map[host.SegmentID]*appender)}
}

// Release implements host.Writer. It waits for calls under way.
func (w *writer) Release(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("release volume: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.released {
		return nil
	}
	w.endTails(ctx)
	w.released = true
	for _, a := range w.appenders {
		a.delete()
	}
	removeAt(w.tree.root, w.lock.Name(), 0) // a takeover may have done it already
	w.lock.Close()
	w.tails.close()
	w.tree.drop()
	return nil
}

// endTails makes the notes of tails durable, unless they are another writer's by
// now. That it failed does no harm: then they count for nothing after a crash.
func (w *writer) endTails(ctx context.Context) {
	leave, err := w.tree.fence.enter(ctx, w.epoch)
	if err != nil {
		return
	}
	defer leave()
	_ = w.tails.end(w.epoch)
}

// reading runs do unless the writer is fenced.
func (w *writer) reading(ctx context.Context, what string, do func() error) error {
	err := ctx.Err()
	if err == nil {
		w.mu.RLock()
		defer w.mu.RUnlock()
		err = errReleased
		if !w.released {
			err = w.tree.fence.check(w.epoch)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return do()
}

// Get implements host.Reader.
func (w *writer) Get(ctx context.Context, name string) (r host.Record, err error) {
	err = w.reading(ctx, "get record", func() (err error) {
		r, err = w.tree.get(ctx, name)
		return err
	})
	return r, err
}

// Read implements host.Reader.
func (w *writer) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (n int, err error) {
	err = w.reading(ctx, "read segment", func() (err error) {
		n, err = w.tree.read(id, off, p)
		return err
	})
	return n, err
}

// Segments implements host.Reader.
func (w *writer) Segments(ctx context.Context) (infos []host.SegmentInfo, err error) {
	err = w.reading(ctx, "list segments", func() (err error) {
		infos, err = w.tree.list()
		return err
	})
	return infos, err
}

// changing runs do behind the fence, unless the writer is fenced or failed.
func (w *writer) changing(ctx context.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.released {
		return errReleased
	}
	leave, err := w.tree.fence.enter(ctx, w.epoch)
	if err != nil {
		return err
	}
	defer leave()
	if err := w.failure(); err != nil {
		return err
	}
	return do()
}

// failure returns the error of a sync that failed before.
func (w *writer) failure() error {
	w.state.Lock()
	defer w.state.Unlock()
	return w.failed
}

// fail makes err final. The first one stays.
func (w *writer) fail(err error) error {
	w.state.Lock()
	defer w.state.Unlock()
	if w.failed == nil {
		w.failed = fmt.Errorf("writer failed for good: %w", err)
	}
	return w.failed
}

// Swap implements host.Writer. A commit that failed is final, as a sync is.
func (w *writer) Swap(ctx context.Context, name string, old host.Version, value []byte) (v host.Version, err error) {
	if err := host.CheckRecord(name, value); err != nil {
		return "", fmt.Errorf("swap: %w", err)
	}
	err = w.changing(ctx, func() (err error) {
		v, err = w.tree.swap(ctx, name, old, value)
		var uncertain *uncertainError
		if errors.As(err, &uncertain) {
			err = w.fail(err)
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("swap record %q: %w", name, err)
	}
	return v, nil
}

// Create implements host.Writer.
func (w *writer) Create(ctx context.Context, id host.SegmentID, capacity int64) error {
	err := host.CheckSegment(id, 0, 0)
	if err == nil && (capacity <= 0 || capacity > host.MaxSegmentSize) {
		err = host.ErrInvalid
	}
	if err == nil {
		err = w.changing(ctx, func() error { return w.create(id, capacity) })
	}
	if err != nil {
		return fmt.Errorf("create segment %d of %d bytes: %w", id, capacity, err)
	}
	return nil
}

func (w *writer) create(id host.SegmentID, capacity int64) error {
	file, err := w.tree.newSegmentFile(id, capacity)
	if err != nil {
		return err
	}
	if err := w.tails.set(id, 0); err != nil {
		file.Close()
		return errors.Join(err, removeAt(w.tree.segments, segmentName(id), 0))
	}
	w.closeIdle()
	w.state.Lock()
	defer w.state.Unlock()
	w.appenders[id] = &appender{id: id, capacity: capacity, file: file, tails: w.tails, fresh: true}
	return nil
}

// closeIdle bounds the open files.
func (w *writer) closeIdle() {
	w.state.Lock()
	var open []*appender
	for _, a := range w.appenders {
		open = append(open, a)
	}
	w.state.Unlock()
	if len(open) < maxOpenAppenders {
		return
	}
	for _, a := range open {
		a.idle()
	}
}

// Append implements host.Writer.
func (w *writer) Append(ctx context.Context, id host.SegmentID, off int64, p []byte) error {
	err := host.CheckSegment(id, off, len(p))
	if err == nil {
		err = w.changing(ctx, func() error {
			a, err := w.appender(id)
			if err != nil {
				return err
			}
			return a.append(w.tree.segments, off, p)
		})
	}
	if err != nil {
		return fmt.Errorf("append to segment %d, %d bytes at %d: %w", id, len(p), off, err)
	}
	return nil
}

var _ host.AppendSyncer = (*writer)(nil)

// AppendSync implements host.AppendSyncer: it passes the fence once instead of twice.
func (w *writer) AppendSync(ctx context.Context, id host.SegmentID, off int64, p []byte, synced ...host.SegmentID) error {
	err := host.CheckSegment(id, off, len(p))
	if err == nil {
		err = w.changing(ctx, func() error {
			a, err := w.appender(id)
			if err == nil {
				err = a.append(w.tree.segments, off, p)
			}
			if err != nil {
				return err
			}
			return w.syncEach(synced)
		})
	}
	if err != nil {
		return fmt.Errorf("append to segment %d, %d bytes at %d, and sync: %w", id, len(p), off, err)
	}
	return nil
}

// appender finds a segment that this writer made.
func (w *writer) appender(id host.SegmentID) (*appender, error) {
	w.state.Lock()
	defer w.state.Unlock()
	if a := w.appenders[id]; a != nil {
		return a, nil
	}
	if !exists(w.tree.segments, segmentName(id)) {
		return nil, host.ErrNotFound
	}
	return nil, fmt.Errorf("made by another writer: %w", host.ErrInvalid)
}

// Sync implements host.Writer. It also makes durable what an earlier writer,
// perhaps killed, left of a segment.
func (w *writer) Sync(ctx context.Context, ids ...host.SegmentID) error {
	if err := w.changing(ctx, func() error { return w.syncEach(ids) }); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

func (w *writer) syncEach(ids []host.SegmentID) error {
	for _, id := range ids {
		if err := w.syncOne(id); err != nil {
			return fmt.Errorf("segment %d: %w", id, err)
		}
	}
	return nil
}

func (w *writer) syncOne(id host.SegmentID) error {
	if err := host.CheckSegment(id, 0, 0); err != nil {
		return err
	}
	w.state.Lock()
	a := w.appenders[id]
	w.state.Unlock()
	if a == nil {
		return w.syncForeign(id)
	}
	if err := a.sync(w.tree.segments); err != nil {
		return w.fail(err)
	}
	return nil
}

// syncForeign syncs a segment of an earlier writer.
func (w *writer) syncForeign(id host.SegmentID) error {
	s, err := openSegmentFile(w.tree.segments, id)
	if err != nil {
		return err
	}
	defer s.file.Close()
	err = s.file.Sync()
	if err == nil {
		err = w.tree.segments.Sync()
	}
	if err != nil {
		return w.fail(err)
	}
	return nil
}

// Delete implements host.Writer.
func (w *writer) Delete(ctx context.Context, id host.SegmentID) error {
	err := host.CheckSegment(id, 0, 0)
	if err == nil {
		err = w.changing(ctx, func() error { return w.delete(id) })
	}
	if err != nil {
		return fmt.Errorf("delete segment %d: %w", id, err)
	}
	return nil
}

func (w *writer) delete(id host.SegmentID) error {
	w.state.Lock()
	a := w.appenders[id]
	delete(w.appenders, id)
	w.state.Unlock()
	if a != nil {
		a.delete()
	}
	w.tree.files.forget(id)
	err := w.tree.setSpare(id)
	if err == nil {
		err = w.tails.clear(id)
	}
	return err
}

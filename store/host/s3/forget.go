package s3

import (
	"context"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
)

var _ host.Forgetter = (*writer)(nil)

// Forget implements host.Forgetter: a new head, and then no object that it does not
// refer to. What a bucket with versions keeps of deleted objects is beyond it.
func (w *writer) Forget(ctx context.Context, more bool) error {
	if err := w.forget(ctx, more); err != nil {
		return fmt.Errorf("forget what was deleted: %w", err)
	}
	return nil
}

func (w *writer) forget(ctx context.Context, more bool) error {
	if err := w.enter(ctx, true); err != nil {
		return err
	}
	if err := w.flushBacklog(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	w.state.forgetting = more
	w.entries++ // so that there is a new head
	w.mu.Unlock()
	if err := w.fold(ctx, false); err != nil {
		return err
	}
	if err := w.sweepOnce(ctx); err != nil {
		return err
	}
	return w.awaitDeletes(ctx)
}

// awaitDeletes waits until what nobody needs is gone, and tries again what could not
// be deleted.
func (w *writer) awaitDeletes(ctx context.Context) error {
	w.mu.Lock()
	err := w.waitFor(func() bool { return w.deletes == 0 })
	left := w.garbage
	w.garbage = nil
	w.mu.Unlock()
	if err == nil {
		err = w.volume.objects.delete(ctx, left)
	}
	if err != nil {
		w.mu.Lock()
		w.garbage = append(w.garbage, left...)
		w.mu.Unlock()
	}
	return err
}

// Forgetting implements host.Forgetter.
func (w *writer) Forgetting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.forgetting
}

package faulthost

import (
	"context"

	"github.com/coffer-fs/coffer/store/host"
)

// pretendedVersion is what a Swap returns that did not happen.
const pretendedVersion = host.Version("pretended")

// writer is a host.Writer that follows its Host's rules.
type writer struct {
	reader
	inner host.Writer
}

// Acquire implements host.Volume. If it fails after its effect, the volume stays
// acquired by nobody who could release it.
func (h *Host) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	var inner host.Writer
	err := call(ctx, h.next(Acquire), func() (err error) {
		inner, err = h.inner.Acquire(ctx, o)
		return err
	}, nothing)
	if err != nil {
		return nil, err
	}
	return &writer{reader{h, inner}, inner}, nil
}

// Swap implements host.Writer.
func (w *writer) Swap(ctx context.Context, name string, old host.Version, value []byte) (host.Version, error) {
	v := pretendedVersion
	err := call(ctx, w.h.next(Swap), func() (err error) {
		v, err = w.inner.Swap(ctx, name, old, value)
		return err
	}, nothing)
	if err != nil {
		return "", err
	}
	w.h.remember(name, host.Record{Value: value, Version: v})
	return v, nil
}

// Create implements host.Writer.
func (w *writer) Create(ctx context.Context, id host.SegmentID, capacity int64) error {
	return call(ctx, w.h.next(Create), func() error { return w.inner.Create(ctx, id, capacity) }, nothing)
}

// Append implements host.Writer.
func (w *writer) Append(ctx context.Context, id host.SegmentID, off int64, p []byte) error {
	return call(ctx, w.h.next(Append),
		func() error { return w.inner.Append(ctx, id, off, p) },
		func() error { return w.inner.Append(ctx, id, off, p[:len(p)/2]) })
}

// Sync implements host.Writer.
func (w *writer) Sync(ctx context.Context, ids ...host.SegmentID) error {
	return call(ctx, w.h.next(Sync),
		func() error { return w.inner.Sync(ctx, ids...) },
		func() error { return w.inner.Sync(ctx, ids[:len(ids)/2]...) })
}

// Delete implements host.Writer.
func (w *writer) Delete(ctx context.Context, id host.SegmentID) error {
	return call(ctx, w.h.next(Delete), func() error { return w.inner.Delete(ctx, id) }, nothing)
}

// Forget implements host.Forgetter, as far as the inner host does. It is never hit.
func (w *writer) Forget(ctx context.Context, more bool) error {
	if f, ok := w.inner.(host.Forgetter); ok {
		return f.Forget(ctx, more)
	}
	return nil
}

// Forgetting implements host.Forgetter.
func (w *writer) Forgetting() bool {
	f, ok := w.inner.(host.Forgetter)
	return ok && f.Forgetting()
}

// Release implements host.Writer.
func (w *writer) Release(ctx context.Context) error {
	return call(ctx, w.h.next(Release), func() error { return w.inner.Release(ctx) }, nothing)
}

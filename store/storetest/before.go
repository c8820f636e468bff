package storetest

import (
	"context"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

// Before is a volume in memory that tells of each changing call before it is made.
// What a cut in the middle of a call leaves is among what crashes may leave of the
// moments before and behind it: so a copy from each such moment is all that a crash
// test needs.
type Before struct {
	*memhost.Host
	Call func(call string) // without any lock; by several goroutines at once
}

func (b *Before) tell(format string, args ...any) { b.Call(fmt.Sprintf(format, args...)) }

// Acquire implements host.Volume.
func (b *Before) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	b.tell("acquire")
	w, err := b.Host.Acquire(ctx, o)
	if err != nil {
		return nil, err
	}
	return &beforeWriter{w, b}, nil
}

// AcquireAs and Resume let a host process serve the volume.
func (b *Before) AcquireAs(ctx context.Context, o host.AcquireOptions, token [32]byte) (host.Writer, error) {
	b.tell("acquire")
	w, err := b.Host.AcquireAs(ctx, o, token)
	if err != nil {
		return nil, err
	}
	return &beforeWriter{w, b}, nil
}

// Resume is explained at AcquireAs.
func (b *Before) Resume(ctx context.Context, o host.AcquireOptions, token [32]byte) (host.Writer, error) {
	b.tell("resume")
	w, err := b.Host.Resume(ctx, o, token)
	if err != nil {
		return nil, err
	}
	return &beforeWriter{w, b}, nil
}

type adopter interface {
	Adopt(ctx context.Context, id host.SegmentID, capacity, tail int64) error
}

func (w *beforeWriter) Adopt(ctx context.Context, id host.SegmentID, capacity, tail int64) error {
	w.b.tell("adopt %d at %d", id, tail)
	return w.Writer.(adopter).Adopt(ctx, id, capacity, tail)
}

type beforeWriter struct {
	host.Writer
	b *Before
}

func (w *beforeWriter) Swap(ctx context.Context, name string, old host.Version, value []byte) (host.Version, error) {
	w.b.tell("swap %s", name)
	return w.Writer.Swap(ctx, name, old, value)
}

func (w *beforeWriter) Create(ctx context.Context, id host.SegmentID, capacity int64) error {
	w.b.tell("create %d", id)
	return w.Writer.Create(ctx, id, capacity)
}

func (w *beforeWriter) Append(ctx context.Context, id host.SegmentID, off int64, p []byte) error {
	w.b.tell("append %d bytes at %d:%d", len(p), id, off)
	return w.Writer.Append(ctx, id, off, p)
}

func (w *beforeWriter) Sync(ctx context.Context, ids ...host.SegmentID) error {
	w.b.tell("sync %d", ids)
	return w.Writer.Sync(ctx, ids...)
}

func (w *beforeWriter) Delete(ctx context.Context, id host.SegmentID) error {
	w.b.tell("delete %d", id)
	return w.Writer.Delete(ctx, id)
}

func (w *beforeWriter) Release(ctx context.Context) error {
	w.b.tell("release")
	return w.Writer.Release(ctx)
}

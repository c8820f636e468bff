package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-fs/coffer/store/host"
)

// counting is a host that counts the bytes that are written to it, and times its
// syncs: what a disk takes is no fault of the cleaner.
type counting struct {
	host.Volume
	bytes atomic.Int64

	mu    sync.Mutex
	syncs []time.Duration
}

// takeSyncs returns how long the syncs since the last call took.
func (c *counting) takeSyncs() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	syncs := c.syncs
	c.syncs = nil
	return syncs
}

// Acquire implements host.Volume.
func (c *counting) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	w, err := c.Volume.Acquire(ctx, o)
	return &countingWriter{w, c}, err
}

type countingWriter struct {
	host.Writer
	c *counting
}

func (w *countingWriter) Append(ctx context.Context, id host.SegmentID, off int64, p []byte) error {
	w.c.bytes.Add(int64(len(p)))
	return w.Writer.Append(ctx, id, off, p)
}

func (w *countingWriter) Swap(ctx context.Context, name string, old host.Version, value []byte) (host.Version, error) {
	w.c.bytes.Add(int64(len(value)))
	return w.Writer.Swap(ctx, name, old, value)
}

func (w *countingWriter) Sync(ctx context.Context, ids ...host.SegmentID) error {
	begun := time.Now()
	err := w.Writer.Sync(ctx, ids...)
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.c.syncs = append(w.c.syncs, time.Since(begun))
	return err
}

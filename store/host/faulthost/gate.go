package faulthost

import (
	"context"
	"sync/atomic"

	"github.com/coffer-fs/coffer/store/host"
)

// Gate is a volume one of whose calls, when it is armed, does not return until it is
// let: a slow host. All others go on.
type Gate struct {
	host.Volume
	armed atomic.Pointer[armed]
}

type armed struct {
	ops       Ops
	held, let chan struct{}
}

// NewGate stands before v.
func NewGate(v host.Volume) *Gate { return &Gate{Volume: v} }

// Arm has the writer's next call of one of the kinds wait: held is closed when it does,
// and it goes on when let is called. Appends that begin a segment are not meant: that is
// done in the background at any time.
func (g *Gate) Arm(ops Ops) (held <-chan struct{}, let func()) {
	a := &armed{ops, make(chan struct{}), make(chan struct{})}
	g.armed.Store(a)
	return a.held, func() { close(a.let) }
}

func (g *Gate) pass(op Ops) {
	a := g.armed.Load()
	if a != nil && a.ops&op != 0 && g.armed.CompareAndSwap(a, nil) {
		close(a.held)
		<-a.let
	}
}

// Acquire implements host.Volume.
func (g *Gate) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	w, err := g.Volume.Acquire(ctx, o)
	return gatedWriter{w, g}, err
}

type gatedWriter struct {
	host.Writer
	g *Gate
}

func (w gatedWriter) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (int, error) {
	w.g.pass(Read)
	return w.Writer.Read(ctx, id, off, p)
}

func (w gatedWriter) Append(ctx context.Context, id host.SegmentID, off int64, p []byte) error {
	if off > 0 {
		w.g.pass(Append)
	}
	return w.Writer.Append(ctx, id, off, p)
}

func (w gatedWriter) Sync(ctx context.Context, ids ...host.SegmentID) error {
	w.g.pass(Sync)
	return w.Writer.Sync(ctx, ids...)
}

func (w gatedWriter) Swap(ctx context.Context, name string, old host.Version, value []byte) (host.Version, error) {
	w.g.pass(Swap)
	return w.Writer.Swap(ctx, name, old, value)
}

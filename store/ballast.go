package store

import (
	"context"
	"errors"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// ballast is a segment on the host that nothing is written to. Segments that were emptied
// go with the next checkpoint, which needs room itself; so whoever empties many on a disk
// that may become full keeps some back, and lets go of it when there is no other. It is
// not in the volume: what a crash leaves of it is deleted when the volume is opened. It
// is used by one goroutine.
type ballast struct {
	s  *Store
	id host.SegmentID // 0: there is none
}

// take takes ballast on board, if there is room for it.
func (b *ballast) take(ctx context.Context) error {
	if b.id != 0 {
		return nil
	}
	g, err := b.s.createSegment(ctx, seal.KindNode)
	if errors.Is(err, ErrFull) {
		return nil
	}
	if err == nil {
		b.id = g.id
	}
	return err
}

// drop gives the room back. It reports whether there was any.
func (b *ballast) drop(ctx context.Context) bool {
	if b.id == 0 {
		return false
	}
	id := b.id
	b.id = 0
	err := b.s.host.Delete(ctx, id)
	return err == nil || isNotFound(err)
}

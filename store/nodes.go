package store

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/tree"
)

// nodeBuffer is how much of a checkpoint goes to the host in one append, bytes.
const nodeBuffer = 1 << 20

// nodeWriter appends checkpoints to node segments. Store.ckptMu guards it; seg
// is also read with Store.mu held, and changed with both.
type nodeWriter struct {
	s      *Store
	seg    *segment // nil until something is written in this session
	offset uint32   // of buf's start
	buf    []byte
	dirty  []host.SegmentID // appended to and not synced
	header uint64           // sequence of the header that seg has a copy of

	// bufMu is held too to change seg, offset and buf: what is in buf can
	// already be read. It is the innermost lock.
	bufMu sync.Mutex
}

// pending returns a copy of length bytes at offset off of segment id if they
// are not on the host yet.
func (w *nodeWriter) pending(id host.SegmentID, off, length uint32) []byte {
	w.bufMu.Lock()
	defer w.bufMu.Unlock()
	if w.seg == nil || w.seg.id != id || off < w.offset || uint64(off-w.offset)+uint64(length) > uint64(len(w.buf)) {
		return nil
	}
	return append([]byte(nil), w.buf[off-w.offset:][:length]...)
}

// put seals p into the open node segment and returns its place.
func (w *nodeWriter) put(ctx context.Context, t seal.FrameType, p []byte) (*segment, tree.Ptr, error) {
	size := len(p) + seal.TagSize
	if err := w.room(ctx, size); err != nil {
		return nil, tree.Ptr{}, err
	}
	k, err := w.s.key(w.seg)
	if err != nil {
		return nil, tree.Ptr{}, err
	}
	w.bufMu.Lock()
	defer w.bufMu.Unlock()
	at := w.offset + uint32(len(w.buf))
	w.buf = k.Seal(w.buf, t, at, p)
	return w.seg, tree.Ptr{Segment: w.seg.id, Offset: at, Length: uint32(size)}, nil
}

// room makes sure that size more bytes fit into the open segment.
func (w *nodeWriter) room(ctx context.Context, size int) error {
	if len(w.buf)+size > nodeBuffer {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	if w.seg != nil && w.seg.generation == w.s.ring.Load().Newest() && int64(w.offset)+int64(len(w.buf)+size) <= w.s.segmentSize-seal.SectorSize {
		return nil
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	class := spaceNode
	if w.seg == nil {
		class = spaceSession // every session must be able to checkpoint
	}
	g, err := w.s.makeSegment(ctx, seal.KindNode, class)
	if err != nil {
		return err
	}
	if g == nil {
		return fmt.Errorf("no segment left for the tree: %w", ErrFull)
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.bufMu.Lock()
	defer w.bufMu.Unlock()
	w.s.making--
	w.s.table.add(g)
	w.seg, w.offset, w.header = g, seal.PreambleSize, w.s.headerSequence
	return nil
}

// putRoot appends a copy of a sealed root, from which the volume can be
// recovered if its catalog is lost, and before it the header, if that is newer
// than what the segment began with.
func (w *nodeWriter) putRoot(ctx context.Context, sealed []byte) error {
	header := *w.s.header.Load()
	if err := w.room(ctx, len(header)+len(sealed)+3*seal.SectorSize); err != nil {
		return err
	}
	if w.header != w.s.headerSequence {
		w.putSectors(header)
		w.header = w.s.headerSequence
	}
	if w.s.headerChanged() {
		if err := w.settle(ctx); err != nil {
			return err
		}
	}
	w.putSectors(sealed)
	return nil
}

// settle makes durable what the open segment has up to here, its preamble too: no
// crash may leave a root that was never swapped without the header it goes with.
func (w *nodeWriter) settle(ctx context.Context) error {
	if err := w.flush(ctx); err != nil {
		return err
	}
	if !slices.Contains(w.dirty, w.seg.id) {
		w.dirty = append(w.dirty, w.seg.id)
	}
	return w.sync(ctx)
}

// putSectors appends p so that it begins and ends with a sector, to be found.
func (w *nodeWriter) putSectors(p []byte) {
	w.bufMu.Lock()
	defer w.bufMu.Unlock()
	w.pad()
	w.buf = append(w.buf, p...)
	w.pad()
}

// pad fills the last sector. Callers hold bufMu.
func (w *nodeWriter) pad() {
	end := int(w.offset) + len(w.buf)
	w.buf = append(w.buf, make([]byte, sectors(end)-end)...)
}

// endSector makes sure that nothing later shares a sector with what was put.
func (w *nodeWriter) endSector() {
	w.bufMu.Lock()
	defer w.bufMu.Unlock()
	if len(w.buf) > 0 {
		w.pad()
	}
}

// flush appends what was put.
func (w *nodeWriter) flush(ctx context.Context) error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := w.s.host.Append(context.WithoutCancel(ctx), w.seg.id, int64(w.offset), w.buf); err != nil {
		return w.s.failNow(fmt.Errorf("append to segment %d: %w", w.seg.id, err))
	}
	w.bufMu.Lock()
	w.offset += uint32(len(w.buf))
	w.buf = w.buf[:0]
	w.bufMu.Unlock()
	if n := len(w.dirty); n == 0 || w.dirty[n-1] != w.seg.id {
		w.dirty = append(w.dirty, w.seg.id)
	}
	return nil
}

// sync makes everything durable that was flushed.
func (w *nodeWriter) sync(ctx context.Context) error {
	if len(w.dirty) == 0 {
		return nil
	}
	if err := w.s.host.Sync(context.WithoutCancel(ctx), w.dirty...); err != nil {
		return w.s.failNow(fmt.Errorf("sync the tree: %w", err))
	}
	w.dirty = w.dirty[:0]
	return nil
}

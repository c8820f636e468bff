package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

// Append implements host.Writer.
func (w *writer) Append(ctx context.Context, id host.SegmentID, off int64, p []byte) error {
	return w.AppendSync(ctx, id, off, p)
}

// AppendSync implements host.AppendSyncer. What it syncs should be few segments:
// others are synced by a request of their own.
func (w *writer) AppendSync(ctx context.Context, id host.SegmentID, off int64, p []byte, synced ...host.SegmentID) error {
	err := host.CheckSegment(id, off, len(p))
	for _, s := range synced {
		err = errors.Join(err, host.CheckSegment(s, 0, 0))
	}
	if err == nil {
		err = w.append(ctx, id, off, p, synced)
	}
	if err != nil {
		return fmt.Errorf("append to segment %d, %d bytes at %d: %w", id, len(p), off, err)
	}
	return nil
}

func (w *writer) append(ctx context.Context, id host.SegmentID, off int64, p []byte, synced []host.SegmentID) error {
	inHeader := synced
	if len(synced) > wire.MaxSyncedInHeader {
		inHeader = nil
	}
	r := request{
		method: http.MethodPost, path: segmentPath(id), lease: &w.token, header: w.number(), body: p,
		query: url.Values{"offset": {strconv.FormatInt(off, 10)}},
	}
	if len(inHeader) > 0 {
		r.header.Set(wire.HeaderSync, wire.IDsText(inHeader))
	}
	g := w.segment(id)
	if g == nil { // not ours: the host says why not
		return w.call(ctx, true, func(ctx context.Context, _ outcome) error {
			_, err := w.volume.do(ctx, r)
			if err == nil {
				err = fmt.Errorf("%w: it appended to a segment that this writer did not make", ErrAnswer)
			}
			return err
		})
	}
	if err := w.appendTo(ctx, g, off, p, r, inHeader); err != nil {
		return err
	}
	if len(synced) > len(inHeader) {
		return w.Sync(ctx, synced...)
	}
	return w.shrink(ctx)
}

func (w *writer) segment(id host.SegmentID) *segment {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.segments[id]
}

func (w *writer) appendTo(ctx context.Context, g *segment, off int64, p []byte, r request, synced []host.SegmentID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed != nil {
		return fmt.Errorf("after an append of unknown outcome: %w", g.failed)
	}
	doubt := false // one try may have had its effect
	err := w.call(ctx, true, func(ctx context.Context, _ outcome) error {
		if err := w.known(ctx, g); err != nil {
			return err
		}
		marks := w.mark(synced)
		if _, err := w.volume.do(ctx, r); err != nil {
			doubt = doubt || isCut(err) || final(err)
			return err
		}
		w.appended(g, off, p)
		marks = append(marks, mark{g, off + int64(len(p))})
		w.synced(marks, synced)
		return nil
	})
	if err != nil && doubt && !errors.Is(err, host.ErrFenced) {
		g.failed = err
		if host.Refused(err) { // of the last try, which says nothing of the first
			err = fmt.Errorf("%w: %v", ErrFailed, err)
		}
	}
	return err
}

// known makes the host process know a segment that was made before it was
// started. w.resuming is held.
func (w *writer) known(ctx context.Context, g *segment) error {
	w.mu.Lock()
	known, tail := g.round == w.round, g.tail
	w.mu.Unlock()
	if known {
		return nil
	}
	if err := w.adopt(ctx, g, tail); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	g.round = w.round
	return nil
}

// appended keeps what was appended.
func (w *writer) appended(g *segment, off int64, p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g.tail = off + int64(len(p))
	g.kept = append(g.kept, p...)
	w.window += len(p)
}

// shrink syncs when too much is kept.
func (w *writer) shrink(ctx context.Context) error {
	w.mu.Lock()
	var ids []host.SegmentID
	if w.window > maxWindow {
		for id, g := range w.segments {
			if g.dirty() {
				ids = append(ids, id)
			}
		}
	}
	w.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	return w.Sync(ctx, ids...)
}

// mark is a place in a segment that a sync reaches.
type mark struct {
	segment *segment
	tail    int64
}

// mark notes what of the segments a sync that begins now makes durable.
func (w *writer) mark(ids []host.SegmentID) (marks []mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if g := w.segments[id]; g != nil {
			marks = append(marks, mark{g, g.tail})
		}
	}
	return marks
}

// synced forgets what is durable now of those segments that were synced.
func (w *writer) synced(marks []mark, ids []host.SegmentID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range marks {
		g := m.segment
		if w.segments[g.id] != g || !slices.Contains(ids, g.id) {
			continue
		}
		g.fresh = false
		if n := m.tail - g.synced; n > 0 {
			w.window -= int(n)
			g.synced = m.tail
			g.forget(int(n))
		}
	}
}

// Sync implements host.Writer.
func (w *writer) Sync(ctx context.Context, ids ...host.SegmentID) error {
	for _, id := range ids {
		if err := host.CheckSegment(id, 0, 0); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
	}
	for {
		now := ids[:min(len(ids), wire.MaxSynced)]
		if err := w.sync(ctx, now); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
		if ids = ids[len(now):]; len(ids) == 0 {
			return nil
		}
	}
}

func (w *writer) sync(ctx context.Context, ids []host.SegmentID) error {
	r := request{method: http.MethodPost, path: "/sync", lease: &w.token, body: wire.AppendIDs(nil, ids)}
	return w.call(ctx, true, func(ctx context.Context, _ outcome) error {
		marks := w.mark(ids)
		if _, err := w.volume.do(ctx, r); err != nil {
			return err
		}
		w.synced(marks, ids)
		return nil
	})
}

// maxIdleKept is how large an empty buffer may be that is kept for more.
const maxIdleKept = 256 << 10

// forget drops the first bytes of what is kept. writer.mu is held.
func (g *segment) forget(count int) {
	g.kept = append(g.kept[:0], g.kept[count:]...)
	if len(g.kept) == 0 && cap(g.kept) > maxIdleKept {
		g.kept = nil
	}
}

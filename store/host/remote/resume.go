package remote

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

// resume shows the token to a host process that does not know it, and appends
// again what was not synced: nobody can tell what became of that. A call that saw
// an earlier round finds it done. The error may be a cutError: try again.
func (w *writer) resume(ctx context.Context, seen int) error {
	w.resuming.Lock()
	defer w.resuming.Unlock()
	if err := w.usable(false); err != nil {
		return err
	}
	if w.round != seen {
		return nil
	}
	q := w.leaseRequest(wire.LeaseRequest{Owner: w.owner, Resume: true})
	if _, err := w.volume.do(ctx, q); err != nil {
		return err
	}
	var again []*segment
	w.mu.Lock()
	for _, g := range w.segments {
		if g.dirty() {
			again = append(again, g)
		}
	}
	w.mu.Unlock()
	for _, g := range again {
		if err := w.replay(ctx, g); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.round++
	for _, g := range again {
		g.round = w.round
	}
	return nil
}

// replay appends what was not synced of a segment. No call is under way.
func (w *writer) replay(ctx context.Context, g *segment) error {
	if err := w.adopt(ctx, g, g.synced); err != nil {
		return err
	}
	if len(g.kept) == 0 {
		return nil
	}
	_, err := w.volume.do(ctx, request{
		method: http.MethodPost, path: segmentPath(g.id), lease: &w.token, body: g.kept,
		query: url.Values{"offset": {strconv.FormatInt(g.synced, 10)}},
	})
	return err
}

// adopt tells the host process where a segment ends.
func (w *writer) adopt(ctx context.Context, g *segment, tail int64) error {
	_, err := w.volume.do(ctx, request{
		method: http.MethodPut, path: segmentPath(g.id), lease: &w.token,
		query: url.Values{"capacity": {strconv.FormatInt(g.capacity, 10)}, "tail": {strconv.FormatInt(tail, 10)}},
	})
	return err
}

var (
	_ host.Preparer  = (*writer)(nil)
	_ host.Forgetter = (*writer)(nil)
)

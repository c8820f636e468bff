package remote

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

// writer is one acquisition of a volume. It implements host.Writer.
type writer struct {
	volume     *Volume
	token      [wire.TokenSize]byte
	owner      string
	forgetting atomic.Bool   // see host.Forgetter
	calls      atomic.Uint64 // numbers the calls that must be known again

	stop   context.CancelFunc // ends the pings
	pinged chan struct{}      // closed when they have ended

	swapping sync.Mutex // one Swap or Create at a time, so that its outcome can be told
	resuming sync.RWMutex

	mu       sync.Mutex
	round    int // resumptions so far; changed under resuming too
	segments map[host.SegmentID]*segment
	window   int   // bytes kept of all segments
	failed   error // final for all changes
	released bool
}

// segment is a segment that this writer made.
type segment struct {
	id       host.SegmentID
	capacity int64

	mu     sync.Mutex // held for an append
	failed error      // nobody knows its tail; guarded by mu

	// Guarded by writer.mu.
	round  int    // the resumption in which the host process knows it
	tail   int64  // where the last append ended
	synced int64  // up to where it is durable
	fresh  bool   // its existence is not durable
	kept   []byte // from synced to tail
}

// dirty reports whether something of it is not durable. writer.mu is held.
func (g *segment) dirty() bool { return g.fresh || g.synced < g.tail }

// Acquire implements host.Volume.
func (v *Volume) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	w := &writer{volume: v, owner: o.Owner, segments: make(map[host.SegmentID]*segment), pinged: make(chan struct{})}
	rand.Read(w.token[:])
	a, err := v.retry(ctx, w.leaseRequest(wire.LeaseRequest{Owner: o.Owner, Takeover: o.Takeover}))
	if err != nil {
		if isUnknown(err) { // it may be ours: give it back, if anybody listens
			v.abandon(w)
		}
		return nil, fmt.Errorf("acquire volume: %w", err)
	}
	w.forgetting.Store(a.forget)
	v.keep()
	var pings context.Context
	pings, w.stop = context.WithCancel(context.Background())
	go w.ping(pings)
	return w, nil
}

// isUnknown reports whether a call may have had an effect in spite of err.
func isUnknown(err error) bool { return !host.Refused(err) && !errors.Is(err, ErrUnauthorized) }

// abandon releases a lease that was perhaps never had.
func (v *Volume) abandon(w *writer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = v.do(ctx, request{method: http.MethodDelete, path: "/lease", lease: &w.token})
}

func (w *writer) leaseRequest(q wire.LeaseRequest) request {
	q.Owner = printable(q.Owner, wire.MaxOwner)
	b, err := json.Marshal(q)
	if err != nil {
		panic("remote: " + err.Error()) // a struct of a text and flags
	}
	return request{method: http.MethodPut, path: "/lease", lease: &w.token, body: b}
}

// ping shows that the writer is there while it is not used, so that there is
// always a connection that stands for the lease.
func (w *writer) ping(ctx context.Context) {
	defer close(w.pinged)
	for t := time.NewTicker(wire.Ping); ; {
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
			// If it fails, the next call sees why.
			_, _ = w.volume.do(ctx, request{method: http.MethodGet, path: "/lease", lease: &w.token})
		}
	}
}

// Release implements host.Writer. A host process that cannot be reached is not
// waited for: the lease ends without a client.
func (w *writer) Release(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("release volume: %w", err)
	}
	w.resuming.Lock()
	w.mu.Lock()
	released := w.released
	w.released = true
	w.segments, w.window = nil, 0
	w.mu.Unlock()
	w.resuming.Unlock()
	if released {
		return nil
	}
	w.stop()
	<-w.pinged
	_, err := w.volume.do(ctx, request{method: http.MethodDelete, path: "/lease", lease: &w.token})
	w.volume.drop()
	if err != nil && !isCut(err) && !host.Refused(err) {
		return fmt.Errorf("release volume: %w", err)
	}
	return nil
}

// usable refuses a writer that was released, and changes after a failure.
func (w *writer) usable(changing bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.released {
		return errReleased
	}
	if changing {
		return w.failed
	}
	return nil
}

// fail makes err final for all changes. The first one stays.
func (w *writer) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = fmt.Errorf("writer failed for good: %w", err)
	}
	return err
}

// outcome is what a call knows of its tries so far.
type outcome struct {
	doubt bool // one of them may have had its effect
}

// attempt is one try of a call; it runs with writer.resuming shared.
type attempt func(ctx context.Context, so outcome) error

// call tries until there is an answer, resuming the lease where the host process
// does not know it.
func (w *writer) call(ctx context.Context, changing bool, try attempt) error {
	p := w.volume.patience(ctx)
	var so outcome
	for resumed := false; ; {
		round, err := w.tryOnce(ctx, changing, so, try)
		switch {
		case err == errLost:
			err = w.resume(ctx, round)
			if err == nil && !resumed {
				resumed = true
				continue
			}
			// A process may die while it is told what it has to know, or as soon
			// as it was told.
			if err != nil && err != errLost && err != errBusy && !isCut(err) {
				return w.notResumed(err)
			}
			err = cmp.Or(err, errLost)
		case isCut(err):
			so.doubt = true
		case err == errBusy:
		default:
			if changing && final(err) {
				return w.fail(err)
			}
			return err
		}
		if err := p.wait(err); err != nil {
			return err
		}
	}
}

// notResumed makes the failure of a resumption final, unless the volume is now
// another's, or the host process wants another token.
func (w *writer) notResumed(err error) error {
	if errors.Is(err, host.ErrFenced) || errors.Is(err, ErrUnauthorized) || !host.Refused(err) && !final(err) {
		return err
	}
	return w.fail(fmt.Errorf("%w: resume the lease: %v", ErrFailed, err))
}

func (w *writer) tryOnce(ctx context.Context, changing bool, so outcome, try attempt) (round int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	w.resuming.RLock()
	defer w.resuming.RUnlock()
	if err := w.usable(changing); err != nil {
		return 0, err
	}
	return w.round, try(ctx, so)
}

// read is the doer of calls that change nothing.
func (w *writer) read(ctx context.Context, r request) (a answer, err error) {
	r.lease = &w.token
	err = w.call(ctx, false, func(ctx context.Context, _ outcome) error {
		a, err = w.volume.do(ctx, r)
		return err
	})
	return a, err
}

// Get implements host.Reader.
func (w *writer) Get(ctx context.Context, name string) (host.Record, error) {
	return get(ctx, w.read, name)
}

// Read implements host.Reader.
func (w *writer) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (int, error) {
	return read(ctx, w.read, id, off, p)
}

// Segments implements host.Reader.
func (w *writer) Segments(ctx context.Context) ([]host.SegmentInfo, error) {
	return segments(ctx, w.read)
}

// Swap implements host.Writer. When a try may have had its effect, the record
// tells: it has the new value, and nobody else could give it that.
func (w *writer) Swap(ctx context.Context, name string, old host.Version, value []byte) (v host.Version, err error) {
	if err := host.CheckRecord(name, value); err != nil {
		return "", fmt.Errorf("swap: %w", err)
	}
	w.swapping.Lock()
	defer w.swapping.Unlock()
	h := http.Header{"If-None-Match": {"*"}}
	if old != "" {
		h = http.Header{"If-Match": {wire.Quote(old)}}
	}
	r := request{method: http.MethodPut, path: "/records/" + name, lease: &w.token, header: h, body: value}
	err = w.call(ctx, true, func(ctx context.Context, so outcome) error {
		a, err := w.volume.do(ctx, r)
		if err == nil {
			v, err = wire.Unquote(a.version)
			if err != nil {
				err = fmt.Errorf("%w: %w", ErrAnswer, err)
			}
		} else if so.doubt && errors.Is(err, host.ErrConflict) {
			v, err = w.swapped(ctx, name, value, err)
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("swap record %q: %w", name, err)
	}
	return v, nil
}

// swapped tells whether a try of a Swap had its effect, after a later one found
// the record changed.
func (w *writer) swapped(ctx context.Context, name string, value []byte, conflict error) (host.Version, error) {
	rec, err := get(ctx, func(ctx context.Context, r request) (answer, error) {
		r.lease = &w.token
		return w.volume.do(ctx, r)
	}, name)
	switch {
	case errors.Is(err, errLost):
		return "", errLost
	case errors.Is(err, errBusy):
		return "", errBusy
	case err != nil:
		return "", err
	case string(rec.Value) != string(value):
		return "", conflict
	}
	return rec.Version, nil
}

// Create implements host.Writer.
func (w *writer) Create(ctx context.Context, id host.SegmentID, capacity int64) error {
	err := host.CheckSegment(id, 0, 0)
	if err == nil && (capacity <= 0 || capacity > host.MaxSegmentSize) {
		err = host.ErrInvalid
	}
	if err == nil {
		err = w.create(ctx, id, capacity)
	}
	if err != nil {
		return fmt.Errorf("create segment %d of %d bytes: %w", id, capacity, err)
	}
	return nil
}

func (w *writer) create(ctx context.Context, id host.SegmentID, capacity int64) error {
	r := request{
		method: http.MethodPut, path: segmentPath(id), lease: &w.token, header: w.number(),
		query: url.Values{"capacity": {strconv.FormatInt(capacity, 10)}},
	}
	return w.call(ctx, true, func(ctx context.Context, _ outcome) error {
		if _, err := w.volume.do(ctx, r); err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.segments[id] = &segment{id: id, capacity: capacity, round: w.round, fresh: true}
		return nil
	})
}

// number marks a call, so that it is known when it comes again.
func (w *writer) number() http.Header {
	return http.Header{wire.HeaderRequest: {fmt.Sprintf("%016x", w.calls.Add(1))}}
}

// Delete implements host.Writer.
func (w *writer) Delete(ctx context.Context, id host.SegmentID) error {
	err := host.CheckSegment(id, 0, 0)
	if err == nil {
		err = w.delete(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("delete segment %d: %w", id, err)
	}
	return nil
}

func (w *writer) delete(ctx context.Context, id host.SegmentID) error {
	r := request{method: http.MethodDelete, path: segmentPath(id), lease: &w.token}
	return w.call(ctx, true, func(ctx context.Context, so outcome) error {
		_, err := w.volume.do(ctx, r)
		if so.doubt && errors.Is(err, host.ErrNotFound) {
			err = nil // an earlier try did it
		}
		if err == nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			if g := w.segments[id]; g != nil {
				w.window -= len(g.kept)
				delete(w.segments, id)
			}
		}
		return err
	})
}

// Forget implements host.Forgetter.
func (w *writer) Forget(ctx context.Context, more bool) error {
	r := request{method: http.MethodPost, path: "/forget", lease: &w.token, query: url.Values{"more": {strconv.FormatBool(more)}}}
	err := w.call(ctx, true, func(ctx context.Context, _ outcome) error {
		a, err := w.volume.do(ctx, r)
		switch {
		case err == nil:
			w.forgetting.Store(a.forget)
		case more && errors.Is(err, host.ErrHeld):
			w.forgetting.Store(true)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("forget what was deleted: %w", err)
	}
	return nil
}

// Forgetting implements host.Forgetter.
func (w *writer) Forgetting() bool { return w.forgetting.Load() }

// Prepare implements host.Preparer.
func (w *writer) Prepare(ctx context.Context, capacity int64, count int) error {
	r := request{method: http.MethodPost, path: "/prepare", lease: &w.token, query: url.Values{
		"capacity": {strconv.FormatInt(capacity, 10)}, "count": {strconv.Itoa(count)},
	}}
	err := w.call(ctx, true, func(ctx context.Context, _ outcome) error {
		_, err := w.volume.do(ctx, r)
		return err
	})
	if err != nil {
		return fmt.Errorf("prepare segments of %d bytes: %w", capacity, err)
	}
	return nil
}

package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-fs/coffer/store/host"
)

// writer is one acquisition of a volume. It implements host.Writer.
type writer struct {
	volume *Volume
	dir    *dir // nil if it has none
	epoch  uint64
	token  [16]byte

	resumed bool // it may adopt segments
	patient bool // a store that can't be reached is waited for: see insist

	ctx   context.Context    // of the work in the background
	stop  context.CancelFunc // ends it
	work  sync.WaitGroup     // of it
	kicks chan struct{}      // to fold
	ships chan struct{}      // to ship, with Local

	folding    sync.Mutex // held while a head is made
	tag        string     // of the head, guarded by folding
	committing sync.Mutex // held while a batch is made durable
	shipping   sync.Mutex // held while an entry is made

	numbers atomic.Uint64 // of data objects

	mu       sync.Mutex
	changed  *sync.Cond // of mu: something was shipped, or failed
	state    *state     // what the store has
	live     map[host.SegmentID]*liveSegment
	records  map[string]record // as calls see them
	versions uint64            // of records, in this epoch
	queue    []*request
	backlog  backlog  // acknowledged, not in the store
	unsent   int64    // bytes in memory that are not in the store
	entries  int      // since the last head
	logs     []place  // entries that are still there, in order
	deletes  int      // under way
	garbage  []string // what could not be deleted
	sweep    bool     // what the writer before left must be looked for
	failed   error    // final for all changes
	released bool
}

// liveSegment is a segment as calls see it. Guarded by writer.mu.
type liveSegment struct {
	id       host.SegmentID
	capacity int64
	mine     bool // this writer made it
	made     bool // a batch says so
	tail     int64
	again    int64   // an adopted one goes on here: what is there up to tail comes again
	parts    []*part // what the store lacks, in order, up to tail
}

// part is a run of a segment's bytes that is not in the state yet.
type part struct {
	off    int64
	size   int
	data   []byte // nil once it is in an object
	closed bool   // nothing is added any more
	taken  bool   // by a batch
	object place
	done   chan struct{} // closed when it is in an object, or failed; nil if it is not on its way
	err    error         // valid once done is closed
}

// window is how many bytes may be in memory that are not in the store, before
// appends wait.
const window = 64 << 20

// begin makes a writer of a state that was acquired.
func (v *Volume) begin(s *state, tag string, d *dir, logs []place, unclean bool) *writer {
	w := v.newWriter(s)
	w.dir, w.tag, w.logs, w.sweep, w.patient = d, tag, logs, unclean, v.options.Durability == Local
	for id, g := range s.segments {
		w.live[id] = &liveSegment{id: id, capacity: int64(g.capacity), made: true, tail: int64(g.tail), again: -1}
	}
	for name, r := range s.records {
		w.records[name] = r
	}
	v.keep()
	v.writer.Store(w)
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.work.Go(func() { w.beat(w.ctx) })
	w.work.Go(func() { w.foldInBackground(w.ctx) })
	if w.patient {
		w.work.Go(func() { w.shipInBackground(w.ctx) })
	}
	if unclean {
		w.kick()
	}
	return w
}

// newWriter is a writer that does nothing yet.
func (v *Volume) newWriter(s *state) *writer {
	w := &writer{
		volume: v, epoch: s.epoch, token: s.holder.token, state: s,
		live: make(map[host.SegmentID]*liveSegment), records: make(map[string]record),
		kicks: make(chan struct{}, 1), ships: make(chan struct{}, 1),
	}
	w.changed = sync.NewCond(&w.mu)
	return w
}

func (w *writer) kick() {
	select {
	case w.kicks <- struct{}{}:
	default:
	}
}

// usable refuses a writer that was released or fenced, and changes after a
// failure. Callers hold mu.
func (w *writer) usable(changing bool) error {
	switch {
	case w.released:
		return errReleased
	case errors.Is(w.failed, host.ErrFenced) || changing:
		return w.failed
	}
	return nil
}

// enter is the begin of every call.
func (w *writer) enter(ctx context.Context, changing bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	err := w.usable(changing)
	next := w.state.next
	w.mu.Unlock()
	if err != nil || !w.volume.options.Strict {
		return err
	}
	return w.ask(ctx, next)
}

// ask looks whether somebody made the entry that is this writer's to make.
func (w *writer) ask(ctx context.Context, next uint64) error {
	e, err := w.volume.fetchEntry(ctx, w.epoch, next)
	if err != nil || e == nil || e.kind != entryEnd {
		return err
	}
	return w.fail(host.ErrFenced)
}

// fail makes err final for all changes. The first one stays.
func (w *writer) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = err
		if !errors.Is(err, host.ErrFenced) {
			w.failed = fmt.Errorf("writer failed for good: %w", err)
		}
		w.changed.Broadcast()
	}
	return err
}

// Get implements host.Reader.
func (w *writer) Get(ctx context.Context, name string) (host.Record, error) {
	err := host.CheckRecord(name, nil)
	if err == nil {
		err = w.enter(ctx, false)
	}
	if err != nil {
		return host.Record{}, fmt.Errorf("get record %q: %w", name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return getRecord(w.records, name)
}

// Segments implements host.Reader.
func (w *writer) Segments(ctx context.Context) ([]host.SegmentInfo, error) {
	if err := w.enter(ctx, false); err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	infos := make([]host.SegmentInfo, 0, len(w.live))
	for id, g := range w.live {
		infos = append(infos, host.SegmentInfo{ID: id, Size: g.tail})
	}
	return infos, nil
}

// Read implements host.Reader.
func (w *writer) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (n int, err error) {
	if err := host.CheckSegment(id, off, len(p)); err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	if err = w.enter(ctx, false); err == nil {
		for range maxReloads { // an object may be folded into another one meanwhile
			if n, err = w.read(ctx, id, off, p); !errors.Is(err, errAbsent) {
				break
			}
		}
		if errors.Is(err, errAbsent) { // by whoever took the volume over?
			w.mu.Lock()
			next := w.state.next
			w.mu.Unlock()
			if askErr := w.ask(ctx, next); askErr != nil {
				err = askErr
			}
			err = lost(err)
		}
	}
	if err != nil {
		return n, fmt.Errorf("read segment %d, %d bytes at %d: %w", id, len(p), off, err)
	}
	return n, nil
}

func (w *writer) read(ctx context.Context, id host.SegmentID, off int64, p []byte) (int, error) {
	w.mu.Lock()
	n, pieces, err := w.plan(w.live[id], off, p)
	w.mu.Unlock()
	if len(pieces) > 0 {
		if fetchErr := w.volume.fetch(ctx, pieces); fetchErr != nil {
			return 0, fetchErr
		}
	}
	return n, err
}

// plan is state.plan with what the store lacks. Callers hold mu.
func (w *writer) plan(l *liveSegment, off int64, p []byte) (n int, pieces []piece, err error) {
	if l == nil {
		return 0, nil, host.ErrNotFound
	}
	g := w.state.segments[l.id]
	if g == nil || l.mine && !l.made {
		g = &segment{}
	}
	n, pieces, err = w.state.plan(g, off, p)
	for _, t := range l.parts {
		at := off + int64(n)
		if n == len(p) || at < t.off || at >= t.off+int64(t.size) {
			continue
		}
		skip := int(at - t.off)
		dst := p[n:min(len(p), n+t.size-skip)]
		if t.data != nil {
			copy(dst, t.data[skip:])
		} else {
			pieces = append(pieces, piece{t.object.plus(uint32(skip)), uint32(t.size), dst})
		}
		n += len(dst)
	}
	if n == len(p) {
		err = nil
	}
	return n, pieces, err
}

// Create implements host.Writer. Nothing is sent: the next sync says that there
// is such a segment.
func (w *writer) Create(ctx context.Context, id host.SegmentID, capacity int64) error {
	err := host.CheckSegment(id, 0, 0)
	if err == nil && (capacity <= 0 || capacity > host.MaxSegmentSize) {
		err = host.ErrInvalid
	}
	if err == nil {
		err = w.enter(ctx, true)
	}
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case w.live[id] != nil:
			err = host.ErrExists
		case len(w.live) >= maxSegments:
			err = host.ErrNoSpace
		default:
			w.live[id] = &liveSegment{id: id, capacity: capacity, mine: true, again: -1}
		}
	}
	if err != nil {
		return fmt.Errorf("create segment %d of %d bytes: %w", id, capacity, err)
	}
	return nil
}

// Append implements host.Writer. What fills a part is sent at once; the rest
// waits for a sync.
func (w *writer) Append(ctx context.Context, id host.SegmentID, off int64, p []byte) error {
	err := host.CheckSegment(id, off, len(p))
	if err == nil {
		err = w.enter(ctx, true)
	}
	if err == nil {
		err = w.append(id, off, p)
	}
	if err != nil {
		return fmt.Errorf("append to segment %d, %d bytes at %d: %w", id, len(p), off, err)
	}
	return nil
}

func (w *writer) append(id host.SegmentID, off int64, p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(true); err != nil {
		return err
	}
	g := w.live[id]
	switch {
	case g == nil:
		return host.ErrNotFound
	case !g.mine:
		return fmt.Errorf("another writer made it: %w", host.ErrInvalid)
	case off != g.end() || int64(len(p)) > g.capacity-off || off == g.capacity:
		return host.ErrOffset
	}
	p = g.skip(p)
	for len(p) > 0 {
		t := g.open()
		n := min(len(p), partBytes-t.size)
		t.data = append(t.data, p[:n]...)
		t.size += n
		p = p[n:]
		g.tail += int64(n)
		w.unsent += int64(n)
		if t.size == partBytes {
			w.send(t)
		}
	}
	return w.waitFor(func() bool { return w.unsent <= window || !w.sendLargest() })
}

// waitFor waits until something is so, for as long as Options.Patience. Callers
// hold mu.
func (w *writer) waitFor(so func() bool) error {
	until := time.Now().Add(w.volume.options.Patience)
	wake := time.AfterFunc(w.volume.options.Patience, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed.Broadcast()
	})
	defer wake.Stop()
	for !so() {
		if w.failed != nil {
			return w.failed
		}
		if !time.Now().Before(until) {
			return fmt.Errorf("%w: it takes nothing for %s", ErrUnreachable, w.volume.options.Patience)
		}
		w.changed.Wait()
	}
	return nil
}

// insist does what may be done again. With Local, a store that can't be reached
// is waited for until the writer is released: nothing that was acknowledged
// depends on it. Who ships what a process before left does not wait so.
func (w *writer) insist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if !errors.Is(err, ErrUnreachable) || !w.patient || ctx.Err() != nil {
			return err
		}
		w.volume.options.Logger.Warn("what was acknowledged is not in the object store yet", "error", err)
	}
}

// end is where the next append must continue the segment.
func (g *liveSegment) end() int64 {
	if g.again >= 0 {
		return g.again
	}
	return g.tail
}

// skip leaves out what an adopted segment has already.
func (g *liveSegment) skip(p []byte) []byte {
	if g.again < 0 {
		return p
	}
	n := min(int64(len(p)), g.tail-g.again)
	if g.again += n; g.again == g.tail {
		g.again = -1
	}
	return p[n:]
}

// Adopt lets a resumed writer go on with a segment that its holder made before, at
// tail: what there is behind that comes again. One that the store has not heard of
// is made anew: then tail must be 0.
func (w *writer) Adopt(ctx context.Context, id host.SegmentID, capacity, tail int64) error {
	err := host.CheckSegment(id, tail, 0)
	if err == nil && (capacity <= 0 || capacity > host.MaxSegmentSize || tail > capacity || !w.resumed) {
		err = host.ErrInvalid
	}
	if err == nil {
		err = w.enter(ctx, true)
	}
	if err == nil {
		err = w.adopt(id, capacity, tail)
	}
	if err != nil {
		return fmt.Errorf("adopt segment %d of %d bytes at %d: %w", id, capacity, tail, err)
	}
	return nil
}

func (w *writer) adopt(id host.SegmentID, capacity, tail int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.live[id]
	switch {
	case g == nil && tail == 0:
		w.live[id] = &liveSegment{id: id, capacity: capacity, mine: true, again: -1}
		return nil
	case g == nil:
		return host.ErrNotFound
	case g.capacity != capacity || tail > g.tail:
		return fmt.Errorf("it ends at %d of %d: %w", g.tail, g.capacity, host.ErrInvalid)
	}
	g.mine, g.again = true, -1
	if tail < g.tail {
		g.again = tail
	}
	return nil
}

// open is the part that is added to.
func (g *liveSegment) open() *part {
	if n := len(g.parts); n > 0 && !g.parts[n-1].closed {
		return g.parts[n-1]
	}
	t := &part{off: g.tail}
	g.parts = append(g.parts, t)
	return t
}

// send puts a part into an object of its own, in the background. Callers hold mu.
func (w *writer) send(t *part) {
	t.closed = true
	if t.done != nil {
		return
	}
	t.done = make(chan struct{})
	t.object = place{kind: inData, epoch: w.epoch, number: w.numbers.Add(1)}
	data := t.data
	w.work.Go(func() {
		err := w.insist(w.ctx, func() error { return w.putObject(w.ctx, t.object, data) })
		w.mu.Lock()
		defer w.mu.Unlock()
		if t.err = err; err == nil {
			t.data = nil
			w.unsent -= int64(t.size)
		}
		close(t.done)
		w.changed.Broadcast()
	})
}

// sendLargest sends the largest part that waits for a sync, and tells whether
// anything is on its way. Callers hold mu.
func (w *writer) sendLargest() (underWay bool) {
	var largest *part
	for _, g := range w.live {
		for _, t := range g.parts {
			switch {
			case t.data == nil || t.err != nil:
			case t.done != nil || t.taken:
				underWay = true
			case largest == nil || t.size > largest.size:
				largest = t
			}
		}
	}
	if !underWay && largest != nil {
		w.send(largest)
		underWay = true
	}
	return underWay
}

// putObject makes a data object. Its name is this writer's alone, so that making
// it twice is no harm.
func (w *writer) putObject(ctx context.Context, at place, p []byte) error {
	if _, err := w.volume.objects.put(ctx, at.object(), p, condition{}); err != nil {
		return err
	}
	w.volume.keepBlocks(at, 0, p)
	return nil
}

// Sync implements host.Writer.
func (w *writer) Sync(ctx context.Context, ids ...host.SegmentID) error {
	var err error
	for _, id := range ids {
		err = errors.Join(err, host.CheckSegment(id, 0, 0))
	}
	if err == nil {
		err = w.commit(ctx, &request{sync: slices.Clone(ids)})
	}
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// Swap implements host.Writer.
func (w *writer) Swap(ctx context.Context, name string, old host.Version, value []byte) (host.Version, error) {
	err := host.CheckRecord(name, value)
	r := &request{record: name, old: old, value: slices.Clone(value)}
	if err == nil {
		err = w.commit(ctx, r)
	}
	if err != nil {
		return "", fmt.Errorf("swap record %q: %w", name, err)
	}
	return r.version.host(), nil
}

// Delete implements host.Writer.
func (w *writer) Delete(ctx context.Context, id host.SegmentID) error {
	err := host.CheckSegment(id, 0, 0)
	if err == nil {
		err = w.commit(ctx, &request{remove: id})
	}
	if err != nil {
		return fmt.Errorf("delete segment %d: %w", id, err)
	}
	return nil
}

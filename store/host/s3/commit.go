package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/store/host"
)

// request is what one call wants to be durable: one of its first fields is set.
type request struct {
	sync   []host.SegmentID
	remove host.SegmentID
	record string
	old    host.Version
	value  []byte
	beat   bool // shows that the writer is there

	version version // of the record, when done
	done    bool
	err     error
}

// batch is what becomes durable at once.
type batch struct {
	changes []change
	parts   []*part // of changes that carry bytes; nil for others
	sent    []place // objects that nothing needs
	number  uint64  // with Local, of the entry in the journal
	bytes   int64
	made    time.Time
}

func (b *batch) add(c change, t *part) {
	b.changes = append(b.changes, c)
	b.parts = append(b.parts, t)
	b.bytes += int64(c.size)
}

// maxBatchMeta is how large the description of a batch may become before what
// else waits is left to the next.
const maxBatchMeta = maxMeta / 4

// commit makes a request durable, together with all that wait at that time.
func (w *writer) commit(ctx context.Context, r *request) error {
	if err := w.enter(ctx, true); err != nil {
		return err
	}
	if err := w.foldIfLate(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	w.queue = append(w.queue, r)
	w.mu.Unlock()
	for {
		w.committing.Lock()
		if r.done {
			w.committing.Unlock()
			return r.err
		}
		w.commitQueue(context.WithoutCancel(ctx)) // others wait for it too
		w.committing.Unlock()
	}
}

// commitQueue makes what waits durable. Callers hold committing.
func (w *writer) commitQueue(ctx context.Context) {
	w.mu.Lock()
	var b batch
	var taken []*request
	meta := 0
	err := w.usable(true)
	for len(w.queue) > 0 && meta < maxBatchMeta {
		r := w.queue[0]
		w.queue = w.queue[1:]
		taken = append(taken, r)
		if r.err = err; r.err == nil {
			r.err = w.take(r, &b)
		}
		meta += 64 + len(r.value) + 64*len(r.sync)
	}
	w.mu.Unlock()
	if err == nil {
		err = w.durable(ctx, &b, taken)
	}
	for _, r := range taken {
		if r.done = true; r.err == nil {
			r.err = err
		}
	}
}

// durable makes a batch durable, as the policy says.
func (w *writer) durable(ctx context.Context, b *batch, of []*request) error {
	beats := slices.ContainsFunc(of, func(r *request) bool { return r.beat })
	switch {
	case len(b.changes) == 0 && !beats:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.collect(b.sent)
		return nil
	case w.volume.options.Durability == Local:
		return w.acknowledge(ctx, b)
	}
	return w.ship(ctx, b)
}

// take puts the changes of a request into a batch. Callers hold mu.
func (w *writer) take(r *request, b *batch) error {
	switch {
	case r.record != "":
		return w.takeRecord(r, b)
	case r.remove != 0:
		return w.takeDelete(r.remove, b)
	}
	for _, id := range r.sync {
		g := w.live[id]
		if g == nil {
			return fmt.Errorf("segment %d: %w", id, host.ErrNotFound)
		}
		w.takeBytes(g, b)
	}
	return nil
}

func (w *writer) takeRecord(r *request, b *batch) error {
	now, ok := w.records[r.record]
	switch {
	case !ok && r.old != "" || ok && r.old != now.version.host():
		return host.ErrConflict
	case !ok && len(w.records) >= maxRecords:
		return fmt.Errorf("%d records: %w", len(w.records), host.ErrNoSpace)
	}
	w.versions++
	r.version = version{w.epoch, w.versions}
	w.records[r.record] = record{r.value, r.version}
	b.add(change{kind: changeRecord, name: r.record, version: r.version, value: r.value}, nil)
	return nil
}

func (w *writer) takeDelete(id host.SegmentID, b *batch) error {
	g := w.live[id]
	if g == nil {
		return host.ErrNotFound
	}
	delete(w.live, id)
	for _, t := range g.parts {
		if t.taken {
			continue
		}
		if t.done == nil || t.err != nil {
			w.unsent -= int64(t.size)
		} else {
			b.sent = append(b.sent, t.object)
		}
	}
	if g.made {
		b.add(change{kind: changeDelete, segment: id}, nil)
	}
	return nil
}

func (w *writer) takeBytes(g *liveSegment, b *batch) {
	if !g.made {
		g.made = true
		b.add(change{kind: changeCreate, segment: g.id, offset: uint32(g.capacity)}, nil)
	}
	for _, t := range g.parts {
		if !t.taken {
			t.taken, t.closed = true, true
			b.add(change{kind: changeBytes, segment: g.id, offset: uint32(t.off), size: uint32(t.size), data: t.data}, t)
		}
	}
}

// ship brings a batch to the store: first what is an object of its own, then the
// entry. After an error it is unknown whether it is there, and the writer has
// failed.
func (w *writer) ship(ctx context.Context, b *batch) error {
	w.shipping.Lock()
	defer w.shipping.Unlock()
	if err := w.insist(ctx, func() error { return w.sendObjects(ctx, b) }); err != nil {
		return w.fail(err)
	}
	w.mu.Lock()
	e := &entry{kind: entryChanges, epoch: w.epoch, index: w.state.next, token: w.token, shipped: b.number, changes: b.changes}
	w.mu.Unlock()
	if err := e.seal(); err != nil {
		panic("s3: " + err.Error()) // what this writer put together itself
	}
	if err := w.insist(ctx, func() error { return w.volume.putEntry(ctx, e) }); err != nil {
		return w.fail(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	free, err := w.state.apply(e)
	if err != nil {
		panic("s3: " + err.Error())
	}
	w.shipped(b, e)
	w.collect(append(free, b.sent...))
	return nil
}

// shipped forgets what is in the store now. Callers hold mu.
func (w *writer) shipped(b *batch, e *entry) {
	for i, t := range b.parts {
		if t == nil {
			continue
		}
		if t.data != nil {
			w.unsent -= int64(t.size)
			t.data = nil
		}
		if g := w.live[b.changes[i].segment]; g != nil && len(g.parts) > 0 && g.parts[0] == t {
			g.parts = g.parts[1:]
		}
	}
	w.logs = append(w.logs, place{kind: inLog, epoch: e.epoch, number: e.index})
	w.entries++
	if w.entries >= w.volume.options.foldEntries || w.state.recentBytes >= foldBytes {
		w.kick()
	}
	w.changed.Broadcast()
}

// sendObjects gives large runs of bytes, and what has no room in the entry, an
// object of their own, and waits for those that are on their way. It may be tried
// again.
func (w *writer) sendObjects(ctx context.Context, b *batch) error {
	var group sync.WaitGroup
	errs := make([]error, len(b.changes))
	room := maxPayload
	for i := range b.changes {
		c, t := &b.changes[i], b.parts[i]
		if c.kind != changeBytes {
			continue
		}
		var done chan struct{}
		if t != nil {
			done = t.done
		}
		switch {
		case done != nil:
			c.at = t.object
		case int(c.size) < inlineBytes && int(c.size) <= room:
			room -= int(c.size)
			continue
		case c.at == place{}:
			c.at = place{kind: inData, epoch: w.epoch, number: w.numbers.Add(1)}
		}
		group.Go(func() {
			if done != nil {
				if <-done; t.err == nil {
					return
				}
			}
			errs[i] = w.putObject(ctx, c.at, c.data)
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i := range b.changes {
		if c := &b.changes[i]; c.kind == changeBytes && c.at != (place{}) {
			c.kind, c.data = changeObject, nil
		}
	}
	return nil
}

// seal encodes an entry and reads it again, as whoever comes later will.
func (e *entry) seal() error {
	parsed, err := parseEntry(e.encode(), e.epoch, e.index)
	if err != nil {
		return fmt.Errorf("entry %d has %d changes: %w", e.index, len(e.changes), err)
	}
	*e = *parsed
	return nil
}

// putEntry makes an entry. If there is one already, it may be this one, from a
// try that was not answered; else somebody ended the journal. ErrFenced says that
// it was not made and never will be.
func (v *Volume) putEntry(ctx context.Context, e *entry) error {
	name := logName(e.epoch, e.index)
	_, err := v.objects.put(ctx, name, e.raw, condition{absent: true})
	if err == nil {
		return nil
	}
	if !errors.Is(err, errCondition) {
		return uncertain(err)
	}
	there, _, err := v.objects.get(ctx, name, maxEntry, "")
	if err != nil {
		return uncertain(err)
	}
	if bytes.Equal(there, e.raw) {
		return nil
	}
	other, err := parseEntry(there, e.epoch, e.index)
	if err != nil {
		return uncertain(err)
	}
	if other.kind == entryEnd {
		return host.ErrFenced
	}
	return uncertain(fmt.Errorf("entry %d of epoch %d: %w", e.index, e.epoch, errOther))
}

func uncertain(err error) error {
	if errors.Is(err, ErrUncertain) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUncertain, err)
}

// collect deletes objects that nothing needs, in the background. Callers hold mu.
func (w *writer) collect(objects []place) {
	if len(objects) == 0 {
		return
	}
	w.deletes++
	names := make([]string, len(objects))
	for i, at := range objects {
		names[i] = at.object()
	}
	w.work.Go(func() { w.deleted(names, w.volume.objects.delete(context.Background(), names)) })
}

// deleted notes the outcome of a collection. What could not be deleted is tried again
// by a Forget, or found by a sweep.
func (w *writer) deleted(names []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deletes--; err != nil {
		w.volume.options.Logger.Warn("delete objects of the store", "error", err)
		w.garbage, w.sweep = append(w.garbage, names...), true
	}
	w.changed.Broadcast()
}

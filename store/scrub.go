package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/tree"
)

// ScrubOptions say how to scrub. The zero value is the default.
type ScrubOptions struct {
	// BytesPerSecond bounds what is read. Default 32 MiB; negative: no bound.
	BytesPerSecond int64
	// Restart begins a pass anew, whatever was done of the last one.
	Restart bool
	// Progress, which may be nil, is called now and then.
	Progress func(ScrubReport)

	slice int64 // scrubSlice, but in tests
	// keepFor is how long the host has to keep the position at the end: scrubKeepWait,
	// but in tests.
	keepFor func(context.Context) (context.Context, context.CancelFunc)
}

// ScrubReport is what a pass saw so far, in this run and in those before.
type ScrubReport struct {
	Report          // of the pass
	Resumed  bool   // the pass was begun by an earlier run
	Complete bool   // the pass came to its end
	Next     Key    // where it goes on
	Unkept   string // why the position could not be kept, if so
	Lost     string // why the position that was kept could not be taken up, if so
}

const (
	defaultScrubRate = 32 << 20
	// scrubSlice is how much is verified in one View, in sealed bytes: what was
	// deleted meanwhile stays on the host until the View ends.
	scrubSlice = 32 << 20
	// scrubKeepEvery is how often the position is kept.
	scrubKeepEvery = 10 * time.Second
	// scrubKeepWait is how long the host has to keep the position at the end.
	scrubKeepWait = 10 * time.Second
)

// Scrub verifies every frame of the volume from the host, past all caches, while
// the volume is used: the map with all that is in it, snapshots as well, the data
// it refers to, and the segment table. It goes through the map in order of keys, a
// slice at a time, so what moves meanwhile is verified where it is then, and what is
// new behind its position is left to the next pass. How far it has come is kept on
// the host, sealed, so that a pass goes on in another session.
//
// Damage does not stop it: it is in the report, with an error that wraps ErrDamaged
// at the end of the pass. If ctx ends, the error is that of ctx and the position is
// kept. A volume opened read-only is scrubbed from the start each time.
func (s *Store) Scrub(ctx context.Context, o ScrubOptions) (ScrubReport, error) {
	if o.BytesPerSecond == 0 {
		o.BytesPerSecond = defaultScrubRate
	}
	if o.slice == 0 {
		o.slice = scrubSlice
	}
	if o.keepFor == nil {
		o.keepFor = func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, scrubKeepWait) // else a host that hangs keeps us
		}
	}
	b := &scrubber{s: s, options: o, kept: time.Now()}
	if !o.Restart {
		b.resume(ctx)
	}
	err := b.pass(ctx)
	if err == nil {
		b.report.Complete = true
		err = b.report.err()
	}
	ctx, stop := o.keepFor(context.WithoutCancel(ctx))
	defer stop()
	b.keep(ctx)
	if err != nil {
		err = fmt.Errorf("scrub: %w", err)
	}
	return b.report, err
}

// scrubber is one run of Scrub. It is used by one goroutine.
type scrubber struct {
	s       *Store
	options ScrubOptions
	report  ScrubReport
	kept    time.Time // when the position was kept last
	begun   time.Time // of the slice
	before  int64     // bytes before the slice
}

// errSliceEnd ends the walk of a slice.
var errSliceEnd = errors.New("end of the slice")

func (b *scrubber) pass(ctx context.Context) error {
	for {
		done, err := b.slice(ctx)
		if err != nil || done {
			return err
		}
		if time.Since(b.kept) >= scrubKeepEvery {
			b.keep(ctx)
		}
	}
}

// slice verifies what is behind the position, up to scrubSlice bytes of it.
func (b *scrubber) slice(ctx context.Context) (done bool, err error) {
	st, err := b.s.stateToScrub(ctx)
	if err != nil {
		return false, err
	}
	defer b.s.endView(st.tick)
	if b.s.host != nil { // what the View sees is on the host from here on
		if err := b.s.Commit(ctx); err != nil {
			return false, err
		}
	}
	b.begun, b.before = time.Now(), b.report.Bytes
	c := &checker{s: b.s, ctx: ctx, state: st, counted: map[host.SegmentID]int64{}, report: b.report.Report}
	c.report.Sequence, c.report.Segments, c.report.TotalBytes = st.root.sequence, len(st.recorded), st.totalBytes()
	c.progress = func(r Report) { b.pause(ctx, r) }
	next := b.report.Next
	err = st.view.WalkFrom(ctx, b.s.loadNode, next, tree.Visitor{
		Node: c.node,
		Item: func(k Key, value []byte) error {
			if c.report.Bytes+int64(c.bytes)-b.before >= b.options.slice {
				next = k
				return errSliceEnd
			}
			return c.item(k, value)
		},
	})
	done = err == nil
	if done {
		err = c.checkPages()
	}
	if err == nil || errors.Is(err, errSliceEnd) {
		err = c.verifyPending()
	}
	if err != nil {
		return false, err
	}
	b.report.Report, b.report.Next = c.report, next
	b.report.Damage = slices.CompactFunc(b.report.Damage, func(x, y Damage) bool { return x.Segment == y.Segment && x.Offset == y.Offset })
	return done, nil
}

// stateToScrub returns the present state; it keeps its segments until its View
// ends.
func (s *Store) stateToScrub(ctx context.Context) (*checkedState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	st := &checkedState{root: s.root, pages: slices.Clone(s.table.pages), view: s.tree.View(ctx), recorded: map[host.SegmentID]int64{}, tick: s.tick}
	for _, g := range s.table.byID {
		st.recorded[g.id] = g.live
	}
	s.views[st.tick]++
	return st, nil
}

// pause waits until the rate allows more. Where the reads themselves are slower than
// that it does not wait.
func (b *scrubber) pause(ctx context.Context, r Report) {
	if b.options.Progress != nil {
		now := b.report
		now.Report = r
		b.options.Progress(now)
	}
	if b.options.BytesPerSecond < 0 {
		return
	}
	due := time.Duration(float64(r.Bytes-b.before) / float64(b.options.BytesPerSecond) * float64(time.Second))
	t := time.NewTimer(due - time.Since(b.begun))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

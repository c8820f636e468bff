package hosttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
)

var callTests = []test{
	{"cancelled", func(v *volume) {
		h := v.handle()
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_, err := h.Acquire(gone, host.AcquireOptions{})
		v.refused("acquire", err, context.Canceled)
		w := v.acquire()
		v.create(w, 1)
		version := v.swap(w, "root", "", "one")

		for _, r := range []host.Reader{w, h} {
			_, err = r.Get(gone, "root")
			v.refused("get", err, context.Canceled)
			_, err = r.Read(gone, 1, 0, make([]byte, 1))
			v.refused("read", err, context.Canceled)
			_, err = r.Segments(gone)
			v.refused("list", err, context.Canceled)
		}
		_, err = w.Swap(gone, "root", version, []byte("two"))
		v.refused("swap", err, context.Canceled)
		v.refused("create", w.Create(gone, 2, Capacity), context.Canceled)
		v.refused("append", w.Append(gone, 1, 0, []byte("x")), context.Canceled)
		v.refused("sync", w.Sync(gone, 1), context.Canceled)
		v.refused("delete", w.Delete(gone, 1), context.Canceled)

		v.record(w, "root", version, "one")
		v.append(w, 1, 0, pattern(10, 1))
		v.create(w, 2)
	}},
	{"forget", func(v *volume) {
		h := v.handle()
		w, err := h.Acquire(ctx, host.AcquireOptions{})
		v.ok("acquire", err)
		f, ok := w.(host.Forgetter)
		if !ok {
			return // it keeps nothing
		}
		if f.Forgetting() {
			v.Error("a new volume is forgetting")
		}
		version := v.swap(w, "root", "", "one")
		v.create(w, 1, 2, 3)
		for id := host.SegmentID(1); id <= 3; id++ {
			v.append(w, id, 0, pattern(Capacity, byte(id)))
		}
		v.ok("sync", w.Sync(ctx, 1, 2, 3))
		v.ok("delete", w.Delete(ctx, 1))
		v.ok("forget", f.Forget(ctx, true))
		v.ok("delete", w.Delete(ctx, 2))
		v.create(w, 4, 5)
		v.append(w, 4, 0, pattern(10, 4))
		v.append(w, 5, 0, pattern(10, 5))
		v.unwritten(w, 4, 10)
		v.unwritten(w, 5, 10)
		v.ok("sync", w.Sync(ctx, 4, 5))
		keeps := f.Forgetting() // it may have nothing to forget
		v.record(w, "root", version, "one")
		v.bytes(w, 3, 0, pattern(Capacity, 3))
		v.ok("sync", w.Sync(ctx, 4, 5))
		v.ok("release", w.Release(ctx))
		v.refused("forget after it was released", f.Forget(ctx, false), host.ErrInvalid)
		v.ok("close", h.Close())

		w = v.acquire()
		f = w.(host.Forgetter)
		if f.Forgetting() != keeps {
			v.Error("the next writer does not know that it is to go on forgetting")
		}
		v.ok("delete", w.Delete(ctx, 3))
		v.create(w, 6)
		v.append(w, 6, 0, pattern(10, 6))
		v.unwritten(w, 6, 10)
		v.ok("forget", f.Forget(ctx, false))
		v.bytes(w, 4, 0, pattern(10, 4))
		v.record(w, "root", version, "one")
		w, err = v.handle().Acquire(ctx, host.AcquireOptions{Takeover: true})
		v.ok("take over", err)
		v.refused("forget after a takeover", f.Forget(ctx, true), host.ErrFenced)
		if w.(host.Forgetter).Forgetting() {
			v.Error("it goes on forgetting when that was ended")
		}
	}},
	{"at the same time", func(v *volume) {
		const count, rounds = 6, 12
		w := v.acquire()
		reader := v.handle()
		done := start(count, func(i int) error {
			return worker(w, reader, host.SegmentID(i+1), rounds)
		})
		for _, err := range done() {
			v.ok("worker", err)
		}
		r, err := w.Get(ctx, "counter")
		v.ok("get", err)
		if got := binary.BigEndian.Uint64(r.Value); got != count*rounds {
			v.Errorf("counter is %d after %d increments", got, count*rounds)
		}
	}},
	{"one segment at the same time", func(v *volume) {
		const count, each = 4, 20
		w := v.acquire()
		v.create(w, 1)
		var mu sync.Mutex
		tail := int64(0)
		done := start(count, func(i int) error {
			for range each {
				mu.Lock()
				err := w.Append(ctx, 1, tail, pattern(100, byte(tail/100)))
				tail += 100
				mu.Unlock()
				if err == nil {
					err = w.Sync(ctx, 1)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		for _, err := range done() {
			v.ok("worker", err)
		}
		for i := range int64(count * each) {
			v.bytes(w, 1, i*100, pattern(100, byte(i)))
		}
	}},
	{"appends that race", func(v *volume) {
		const count = 8
		w := v.acquire()
		v.create(w, 1)
		won := 0
		done := start(count, func(i int) error { return w.Append(ctx, 1, 0, pattern(5000, byte(i))) })
		winner := 0
		for i, err := range done() {
			if err == nil {
				won, winner = won+1, i
			} else {
				v.refused("append", err, host.ErrOffset)
			}
		}
		if won != 1 {
			v.Fatalf("%d appends at one offset succeeded", won)
		}
		v.bytes(w, 1, 0, pattern(5000, byte(winner)))
	}},
}

// unwritten expects nothing but zeros in a segment from off on, or its end.
func (v *volume) unwritten(r host.Reader, id host.SegmentID, off int64) {
	v.Helper()
	p := make([]byte, Capacity-off)
	n, err := r.Read(ctx, id, off, p)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		v.Fatalf("read: %v", err)
	}
	if at := bytes.IndexFunc(p[:n], func(r rune) bool { return r != 0 }); at >= 0 {
		v.Errorf("segment %d shows something at %d, where nothing was written", id, off+int64(at))
	}
}

// worker fills a segment of its own, reads it back and counts, round by round.
func worker(w host.Writer, reader host.Reader, id host.SegmentID, rounds int) error {
	if err := w.Create(ctx, id, Capacity); err != nil {
		return err
	}
	for round := range rounds {
		p := pattern(3000, byte(id)+byte(round))
		off := int64(round * len(p))
		if err := w.Append(ctx, id, off, p); err != nil {
			return err
		}
		if err := w.Sync(ctx, id); err != nil {
			return err
		}
		for _, r := range []host.Reader{w, reader} {
			got := make([]byte, len(p))
			if _, err := r.Read(ctx, id, off, got); err != nil {
				return err
			}
			if string(got) != string(p) {
				return fmt.Errorf("segment %d: round %d reads back wrong", id, round)
			}
			if _, err := r.Segments(ctx); err != nil {
				return err
			}
		}
		if err := increment(w); err != nil {
			return err
		}
	}
	return nil
}

// increment adds one to the record "counter".
func increment(w host.Writer) error {
	for {
		r, err := w.Get(ctx, "counter")
		if errors.Is(err, host.ErrNotFound) {
			r.Value = make([]byte, 8)
		} else if err != nil {
			return err
		}
		value := binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(r.Value)+1)
		if _, err = w.Swap(ctx, "counter", r.Version, value); !errors.Is(err, host.ErrConflict) {
			return err
		}
	}
}

// start runs do count times at once. The returned function waits for them.
func start(count int, do func(i int) error) (wait func() []error) {
	errs := make([]error, count)
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() { errs[i] = do(i) })
	}
	return func() []error {
		group.Wait()
		return errs
	}
}

package hosttest

import (
	"errors"
	"io"
	"strings"

	"github.com/coffer-fs/coffer/store/host"
)

var leaseTests = []test{
	{"in use", func(v *volume) {
		h := v.handle()
		w, err := h.Acquire(ctx, host.AcquireOptions{Owner: "the first one"})
		v.ok("acquire", err)
		v.create(w, 1)
		for _, other := range []host.Volume{h, v.handle()} {
			_, err := other.Acquire(ctx, host.AcquireOptions{Owner: "the second one"})
			v.refused("acquire a volume in use", err, host.ErrInUse)
			if err != nil && !strings.Contains(err.Error(), "the first one") {
				v.Errorf("error %q does not name the owner", err)
			}
		}
		v.append(w, 1, 0, pattern(10, 1))
		v.ok("release", w.Release(ctx))
	}},
	{"release", func(v *volume) {
		for range 3 {
			h := v.handle()
			w, err := h.Acquire(ctx, host.AcquireOptions{})
			v.ok("acquire", err)
			v.ok("release", w.Release(ctx))
			w, err = h.Acquire(ctx, host.AcquireOptions{})
			v.ok("acquire again", err)
			v.ok("release", w.Release(ctx))
		}
	}},
	{"close does not release", func(v *volume) {
		h, err := v.open()
		v.ok("open", err)
		w, err := h.Acquire(ctx, host.AcquireOptions{})
		v.ok("acquire", err)
		v.ok("close", h.Close())
		_, err = v.handle().Acquire(ctx, host.AcquireOptions{})
		v.refused("acquire after close", err, host.ErrInUse)
		v.ok("release", w.Release(ctx))
		v.acquire()
	}},
	{"readers need no lease", func(v *volume) {
		w := v.acquire()
		v.create(w, 1)
		v.append(w, 1, 0, pattern(100, 1))
		v.ok("sync", w.Sync(ctx, 1))
		version := v.swap(w, "root", "", "one")
		h := v.handle()
		v.record(h, "root", version, "one")
		v.bytes(h, 1, 0, pattern(100, 1))
		if got := v.sizes(h); len(got) != 1 {
			v.Errorf("segments are %v, want 1", got)
		}
	}},
	{"sees what others changed before", func(v *volume) {
		h := v.handle()
		w := v.acquire()
		v.create(w, 1)
		v.append(w, 1, 0, pattern(100, 1))
		v.ok("sync", w.Sync(ctx, 1))
		v.bytes(h, 1, 0, pattern(100, 1))
		v.ok("delete", w.Delete(ctx, 1))
		v.ok("create", w.Create(ctx, 1, 2*Capacity))
		v.append(w, 1, 0, pattern(100, 2))
		v.ok("sync", w.Sync(ctx, 1))
		v.ok("release", w.Release(ctx))

		w, err := h.Acquire(ctx, host.AcquireOptions{})
		v.ok("acquire", err)
		v.bytes(w, 1, 0, pattern(100, 2))
		v.ok("release", w.Release(ctx))
	}},
	{"takeover of a free volume", func(v *volume) {
		w, err := v.handle().Acquire(ctx, host.AcquireOptions{Takeover: true})
		v.ok("acquire", err)
		v.create(w, 1)
		v.ok("release", w.Release(ctx))
	}},
	{"takeover fences", func(v *volume) {
		old := v.acquire()
		v.create(old, 1, 2)
		v.append(old, 1, 0, pattern(100, 1))
		v.ok("sync", old.Sync(ctx, 1, 2))
		version := v.swap(old, "root", "", "one")

		w, err := v.handle().Acquire(ctx, host.AcquireOptions{Takeover: true})
		v.ok("take over", err)
		v.fenced(old, version)
		v.record(w, "root", version, "one")
		v.bytes(w, 1, 0, pattern(100, 1))
		if got := v.sizes(w); len(got) != 2 {
			v.Errorf("segments are %v, want 1 and 2", got)
		}
		v.create(w, 3)
		v.append(w, 3, 0, pattern(100, 3))
		v.ok("sync", w.Sync(ctx, 3))
		v.swap(w, "root", version, "two")

		v.ok("release the fenced writer", old.Release(ctx))
		_, err = v.handle().Acquire(ctx, host.AcquireOptions{})
		v.refused("acquire after the fenced writer's release", err, host.ErrInUse)
		v.append(w, 3, 100, pattern(100, 4))
		v.ok("release", w.Release(ctx))
	}},
	{"takeover through the same handle", func(v *volume) {
		h := v.handle()
		old, err := h.Acquire(ctx, host.AcquireOptions{})
		v.ok("acquire", err)
		version := v.swap(old, "root", "", "one")
		v.create(old, 1)
		w, err := h.Acquire(ctx, host.AcquireOptions{Takeover: true})
		v.ok("take over", err)
		v.fenced(old, version)
		v.swap(w, "root", version, "two")
		v.ok("release", w.Release(ctx))
		v.ok("release", old.Release(ctx))
	}},
	{"fenced for ever", func(v *volume) {
		old := v.acquire()
		version := v.swap(old, "root", "", "one")
		v.create(old, 1)
		for range 2 {
			w, err := v.handle().Acquire(ctx, host.AcquireOptions{Takeover: true})
			v.ok("take over", err)
			v.fenced(old, version)
			v.ok("release", w.Release(ctx))
			v.fenced(old, version)
		}
		v.acquire()
		v.fenced(old, version)
	}},
	{"takeover of a busy volume", func(v *volume) {
		const count, rounds = 4, 8
		old := v.acquire()
		for round := range host.SegmentID(rounds) {
			id := func(i int) host.SegmentID { return 1 + round*count + host.SegmentID(i) }
			for i := range count {
				v.create(old, id(i))
			}
			ended := start(count, func(i int) error { return appendUntilRefused(old, id(i)) })
			w, err := v.handle().Acquire(ctx, host.AcquireOptions{Takeover: true})
			v.ok("take over", err)
			var before []string
			for i := range count {
				before = append(before, v.content(w, id(i)))
			}
			for _, err := range ended() {
				v.refused("append in a loop", err, host.ErrFenced)
			}
			for i := range count {
				if v.content(w, id(i)) != before[i] {
					v.Errorf("segment %d was changed after the takeover", id(i))
				}
			}
			old = w
		}
		v.ok("release", old.Release(ctx))
	}},
	{"one of many", func(v *volume) {
		const count = 8
		handles := make([]host.Volume, count)
		for i := range handles {
			handles[i] = v.handle()
		}
		won := make(chan host.Writer, count)
		acquired := start(count, func(i int) error {
			w, err := handles[i].Acquire(ctx, host.AcquireOptions{})
			if err == nil {
				won <- w
			}
			return err
		})
		for _, err := range acquired() {
			if err != nil {
				v.refused("acquire", err, host.ErrInUse)
			}
		}
		if len(won) != 1 {
			v.Fatalf("%d of %d acquired the volume", len(won), count)
		}
		v.ok("release", (<-won).Release(ctx))
	}},
	{"last of many takeovers", func(v *volume) {
		const count = 6
		handles := make([]host.Volume, count)
		for i := range handles {
			handles[i] = v.handle()
		}
		writers := make([]host.Writer, count)
		acquired := start(count, func(i int) (err error) {
			writers[i], err = handles[i].Acquire(ctx, host.AcquireOptions{Takeover: true})
			return err
		})
		for _, err := range acquired() {
			v.ok("take over", err)
		}
		holders := 0
		for _, w := range writers {
			if err := w.Sync(ctx); err == nil {
				holders++
			} else {
				v.refused("sync", err, host.ErrFenced)
			}
			v.ok("release", w.Release(ctx))
		}
		if holders != 1 {
			v.Errorf("%d of %d writers hold the volume", holders, count)
		}
	}},
}

// fenced expects every method but Release to be refused. The volume has the
// record "root" in that version, and segment 1.
func (v *volume) fenced(w host.Writer, version host.Version) {
	v.Helper()
	_, err := w.Get(ctx, "root")
	v.refused("get", err, host.ErrFenced)
	_, err = w.Read(ctx, 1, 0, make([]byte, 1))
	v.refused("read", err, host.ErrFenced)
	_, err = w.Segments(ctx)
	v.refused("list", err, host.ErrFenced)
	_, err = w.Swap(ctx, "root", version, []byte("fenced"))
	v.refused("swap", err, host.ErrFenced)
	v.refused("create", w.Create(ctx, 9, Capacity), host.ErrFenced)
	v.refused("append", w.Append(ctx, 1, 0, []byte("fenced")), host.ErrFenced)
	v.refused("append", w.Append(ctx, 1, 100, []byte("fenced")), host.ErrFenced)
	v.refused("sync", w.Sync(ctx, 1), host.ErrFenced)
	v.refused("delete", w.Delete(ctx, 1), host.ErrFenced)
}

// appendUntilRefused appends small pieces until it may not, or has no room.
func appendUntilRefused(w host.Writer, id host.SegmentID) error {
	const size = 64
	for off := int64(0); off < Capacity; off += size {
		if err := w.Append(ctx, id, off, pattern(size, 1)); err != nil {
			return err
		}
	}
	for range 1 << 18 {
		if err := w.Sync(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// content reads all there is of a segment. What was not synced may be known to its
// writer alone, and so may its existence.
func (v *volume) content(r host.Reader, id host.SegmentID) string {
	v.Helper()
	p := make([]byte, Capacity)
	n, err := r.Read(ctx, id, 0, p)
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, host.ErrNotFound) {
		v.ok("read", err)
	}
	return string(p[:n])
}

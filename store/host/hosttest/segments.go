package hosttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/coffer-fs/coffer/store/host"
)

var segmentTests = []test{
	{"absent", func(v *volume) {
		w := v.acquire()
		if got := v.sizes(w); len(got) != 0 {
			v.Errorf("a new volume has the segments %v", got)
		}
		n, err := w.Read(ctx, 1, 0, make([]byte, 10))
		v.refused("read", err, host.ErrNotFound)
		if n != 0 {
			v.Errorf("read %d bytes of an absent segment", n)
		}
		v.refused("append", w.Append(ctx, 1, 0, []byte("x")), host.ErrNotFound)
		v.refused("sync", w.Sync(ctx, 1), host.ErrNotFound)
		v.refused("delete", w.Delete(ctx, 1), host.ErrNotFound)
	}},
	{"create", func(v *volume) {
		w := v.acquire()
		v.create(w, 1, 3)
		v.append(w, 1, 0, pattern(100, 1))
		v.refused("create twice", w.Create(ctx, 1, Capacity), host.ErrExists)
		v.bytes(w, 1, 0, pattern(100, 1))
		if got := v.sizes(w); len(got) != 2 || got[1] < 100 || got[3] < 0 {
			v.Errorf("segments are %v, want 1 and 3", got)
		}
	}},
	{"create at the limits", func(v *volume) {
		w := v.acquire()
		v.ok("create the last number", w.Create(ctx, host.MaxSegmentID, 1))
		v.append(w, host.MaxSegmentID, 0, []byte("x"))
		v.bytes(w, host.MaxSegmentID, 0, []byte("x"))
		v.ok("create the largest", w.Create(ctx, 1, host.MaxSegmentSize))
		v.ok("delete the largest", w.Delete(ctx, 1))
		for _, bad := range []struct {
			id       host.SegmentID
			capacity int64
		}{{0, 1}, {host.MaxSegmentID + 1, 1}, {1, 0}, {1, -1}, {1, host.MaxSegmentSize + 1}, {1, -1 << 63}, {1, 1<<63 - 1}} {
			v.refused(fmt.Sprint("create ", bad), w.Create(ctx, bad.id, bad.capacity), host.ErrInvalid)
		}
		if got := v.sizes(w); len(got) != 1 {
			v.Errorf("segments after refusals are %v", got)
		}
	}},
	{"append", func(v *volume) {
		w := v.acquire()
		v.create(w, 1, 2)
		var want []byte
		for i, size := range []int{1, 511, 512, 4096, 70000, 0, 3} {
			p := pattern(size, byte(i))
			v.append(w, 1, int64(len(want)), p)
			want = append(want, p...)
			v.bytes(w, 1, 0, want) // before any sync
		}
		v.append(w, 2, 0, pattern(1000, 9))
		v.ok("sync", w.Sync(ctx, 1, 2))
		v.bytes(w, 1, 0, want)
		v.bytes(w, 2, 0, pattern(1000, 9))
	}},
	{"append at the wrong offset", func(v *volume) {
		w := v.acquire()
		v.create(w, 1)
		v.refused("append after the start", w.Append(ctx, 1, 1, []byte("x")), host.ErrOffset)
		v.append(w, 1, 0, pattern(100, 1))
		for _, off := range []int64{0, 99, 101, Capacity, host.MaxSegmentSize - 10} {
			v.refused(fmt.Sprint("append at ", off), w.Append(ctx, 1, off, []byte("x")), host.ErrOffset)
		}
		for _, off := range []int64{-1, host.MaxSegmentSize, 1<<63 - 1, -1 << 63} {
			v.refused(fmt.Sprint("append at ", off), w.Append(ctx, 1, off, []byte("x")), host.ErrInvalid)
		}
		v.append(w, 1, 100, pattern(100, 2))
		v.bytes(w, 1, 0, append(pattern(100, 1), pattern(100, 2)...))
	}},
	{"append and sync in one call", func(v *volume) {
		w := v.acquire()
		both, ok := w.(host.AppendSyncer)
		if !ok {
			return // a host need not have it
		}
		v.create(w, 1, 2)
		v.append(w, 2, 0, pattern(100, 1))
		v.ok("append and sync", both.AppendSync(ctx, 1, 0, pattern(100, 2), 1, 2))
		v.refused("at the wrong offset", both.AppendSync(ctx, 1, 99, []byte("x"), 1), host.ErrOffset)
		v.refused("at no offset", both.AppendSync(ctx, 1, -1, []byte("x"), 1), host.ErrInvalid)
		v.refused("to an absent segment", both.AppendSync(ctx, 3, 0, []byte("x"), 3), host.ErrNotFound)
		v.ok("append and sync more", both.AppendSync(ctx, 1, 100, pattern(100, 3), 1))
		v.bytes(w, 1, 0, append(pattern(100, 2), pattern(100, 3)...))
		v.bytes(w, 2, 0, pattern(100, 1))
		v.ok("release", w.Release(ctx))
		if err := both.AppendSync(ctx, 1, 200, []byte("x"), 1); err == nil {
			v.Errorf("append and sync after the release is no error")
		}
	}},
	{"append beyond the capacity", func(v *volume) {
		w := v.acquire()
		v.create(w, 1)
		v.refused("append too much at once", w.Append(ctx, 1, 0, make([]byte, Capacity+1)), host.ErrOffset)
		v.append(w, 1, 0, pattern(Capacity-10, 1))
		v.refused("append too much", w.Append(ctx, 1, Capacity-10, make([]byte, 11)), host.ErrOffset)
		v.append(w, 1, Capacity-10, pattern(10, 2))
		v.refused("append to a full segment", w.Append(ctx, 1, Capacity, []byte("x")), host.ErrOffset)
		v.ok("sync", w.Sync(ctx, 1))
		v.bytes(w, 1, 0, append(pattern(Capacity-10, 1), pattern(10, 2)...))
	}},
	{"appended bytes are copied", func(v *volume) {
		w := v.acquire()
		v.create(w, 1)
		p := pattern(5000, 1)
		v.append(w, 1, 0, p)
		clear(p)
		v.bytes(w, 1, 0, pattern(5000, 1))
	}},
	{"append to another writer's segment", func(v *volume) {
		w := v.acquire()
		v.create(w, 1)
		v.append(w, 1, 0, pattern(100, 1))
		v.ok("sync", w.Sync(ctx, 1))
		v.ok("release", w.Release(ctx))
		next := v.acquire()
		if err := next.Append(ctx, 1, 100, []byte("x")); err == nil || !host.Refused(err) {
			v.Errorf("append: error %v, want a refusal", err)
		}
		v.ok("sync it nevertheless", next.Sync(ctx, 1))
		v.bytes(next, 1, 0, pattern(100, 1))
	}},
	{"read ranges", func(v *volume) {
		w := v.acquire()
		v.create(w, 1)
		want := pattern(Capacity, 1)
		for off := 0; off < Capacity; off += Capacity / 8 {
			v.append(w, 1, int64(off), want[off:off+Capacity/8])
		}
		v.ok("sync", w.Sync(ctx, 1))
		reader := v.handle()
		for _, r := range []host.Reader{w, reader} {
			for _, off := range []int{0, 1, 511, Capacity/8 - 1, Capacity / 8, Capacity - 1} {
				for _, size := range []int{0, 1, 512, Capacity / 4} {
					v.bytes(r, 1, int64(off), want[off:min(off+size, Capacity)])
				}
			}
			v.bytes(r, 1, 0, want)
		}
	}},
	{"read past the end", func(v *volume) {
		w := v.acquire()
		v.create(w, 1)
		want := pattern(Capacity, 1)
		v.append(w, 1, 0, want)
		v.ok("sync", w.Sync(ctx, 1))
		for _, off := range []int64{Capacity - 10, Capacity, Capacity + 1, host.MaxSegmentSize - 20} {
			p := make([]byte, 20)
			n, err := w.Read(ctx, 1, off, p)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				v.Errorf("read at %d: error %v, want %q", off, err, io.ErrUnexpectedEOF)
			}
			rest := want[min(off, Capacity):]
			if n != len(rest) || !bytes.Equal(p[:n], rest) {
				v.Errorf("read at %d: %d bytes, want %d", off, n, len(rest))
			}
		}
	}},
	{"read an invalid range", func(v *volume) {
		w := v.acquire()
		v.create(w, 1)
		p := make([]byte, 20)
		for _, off := range []int64{-1, -1 << 63, host.MaxSegmentSize - 19, 1<<63 - 1} {
			n, err := w.Read(ctx, 1, off, p)
			v.refused(fmt.Sprint("read at ", off), err, host.ErrInvalid)
			if n != 0 {
				v.Errorf("an invalid read returned %d bytes", n)
			}
		}
		for _, id := range []host.SegmentID{0, host.MaxSegmentID + 1, 1<<64 - 1} {
			_, err := w.Read(ctx, id, 0, p)
			v.refused(fmt.Sprint("read of ", id), err, host.ErrInvalid)
			v.refused(fmt.Sprint("append to ", id), w.Append(ctx, id, 0, p), host.ErrInvalid)
			v.refused(fmt.Sprint("sync of ", id), w.Sync(ctx, id), host.ErrInvalid)
			v.refused(fmt.Sprint("delete of ", id), w.Delete(ctx, id), host.ErrInvalid)
		}
	}},
	{"sync", func(v *volume) {
		w := v.acquire()
		v.ok("sync nothing", w.Sync(ctx))
		v.create(w, 1, 2)
		v.ok("sync what is empty", w.Sync(ctx, 1))
		v.append(w, 1, 0, pattern(10, 1))
		v.append(w, 2, 0, pattern(10, 2))
		v.ok("sync two", w.Sync(ctx, 1, 2))
		v.ok("sync again", w.Sync(ctx, 2, 1, 2))
		v.append(w, 1, 10, pattern(10, 3))
		v.ok("sync one", w.Sync(ctx, 1))
		v.refused("sync an absent one too", w.Sync(ctx, 1, 7), host.ErrNotFound)
		v.append(w, 1, 20, pattern(10, 4))
	}},
	{"delete", func(v *volume) {
		w := v.acquire()
		v.create(w, 1, 2)
		v.append(w, 1, 0, pattern(100, 1))
		v.append(w, 2, 0, pattern(100, 2))
		v.ok("sync", w.Sync(ctx, 1, 2))
		reader := v.handle()
		v.bytes(reader, 1, 0, pattern(100, 1))
		v.bytes(w, 1, 0, pattern(100, 1))
		v.ok("delete", w.Delete(ctx, 1))
		for _, r := range []host.Reader{w, reader} {
			_, err := r.Read(ctx, 1, 0, make([]byte, 10))
			v.refused("read a deleted segment", err, host.ErrNotFound)
			if got := v.sizes(r); len(got) != 1 || got[2] < 100 {
				v.Errorf("segments are %v, want 2", got)
			}
		}
		v.refused("delete twice", w.Delete(ctx, 1), host.ErrNotFound)
		v.refused("append", w.Append(ctx, 1, 100, []byte("x")), host.ErrNotFound)
		v.refused("sync", w.Sync(ctx, 1), host.ErrNotFound)
		v.bytes(w, 2, 0, pattern(100, 2))
	}},
	{"delete and create again", func(v *volume) {
		w := v.acquire()
		reader := v.handle()
		for round := range byte(12) {
			id := host.SegmentID(1 + round%2)
			v.create(w, id, id+10)
			v.append(w, id, 0, pattern(5000, round))
			v.append(w, id+10, 0, pattern(5000, round+100))
			v.bytes(w, id, 0, pattern(5000, round))
			v.ok("sync", w.Sync(ctx, id, id+10))
			v.bytes(reader, id, 0, pattern(5000, round))
			v.bytes(reader, id+10, 0, pattern(5000, round+100))
			v.ok("delete", w.Delete(ctx, id))
			v.ok("delete", w.Delete(ctx, id+10))
		}
	}},
	{"many", func(v *volume) {
		const count = 150
		w := v.acquire()
		for id := range host.SegmentID(count) {
			v.ok("create", w.Create(ctx, id+1, 8192))
			v.append(w, id+1, 0, pattern(100, byte(id)))
			if id%10 == 0 {
				v.ok("sync", w.Sync(ctx, id+1))
			}
		}
		for id := range host.SegmentID(count) {
			v.append(w, id+1, 100, pattern(100, byte(id+1)))
			v.bytes(w, id+1, 0, append(pattern(100, byte(id)), pattern(100, byte(id+1))...))
		}
		if got := v.sizes(w); len(got) != count {
			v.Errorf("%d segments, want %d", len(got), count)
		}
	}},
	{"last", func(v *volume) {
		h := v.handle()
		w, err := h.Acquire(ctx, host.AcquireOptions{})
		v.ok("acquire", err)
		v.create(w, 1, 2, 3)
		v.append(w, 1, 0, pattern(10000, 1))
		v.append(w, 2, 0, pattern(10000, 2))
		v.ok("sync", w.Sync(ctx, 1, 2, 3))
		v.ok("delete", w.Delete(ctx, 3))
		v.ok("release", w.Release(ctx))
		v.ok("close", h.Close())

		w = v.acquire()
		v.bytes(w, 1, 0, pattern(10000, 1))
		v.bytes(w, 2, 0, pattern(10000, 2))
		if got := v.sizes(w); len(got) != 2 || got[1] < 10000 || got[2] < 10000 {
			v.Errorf("segments are %v, want 1 and 2", got)
		}
		v.refused("create one that lasted", w.Create(ctx, 1, Capacity), host.ErrExists)
		v.ok("delete one that lasted", w.Delete(ctx, 1))
	}},
}

package hosttest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
)

// pointTests are those of volumes that keep points: each sentence about
// host.PointKeeper and host.Point.
var pointTests = []test{
	{"WhatWasThen", pointIsWhatWasThen},
	{"KeepsWhatIsDeleted", pointKeepsWhatIsDeleted},
	{"NewSegmentOfAnOldNumber", pointOfAReusedNumber},
	{"Grows", pointsOfAGrowingSegment},
	{"Names", pointNames},
	{"Open", openPointStays},
	{"Expires", pointExpires},
	{"Count", pointCount},
	{"Killed", pointWithoutAWriter},
	{"Instant", pointIsAnInstant},
	{"Forget", pointsAreNotForgotten},
}

// pointsAreNotForgotten: what is asked to be forgotten while there are points is,
// but for what they keep.
func pointsAreNotForgotten(v *volume) {
	w := v.acquire()
	f, ok := w.(host.Forgetter)
	if !ok {
		return
	}
	h := v.handle().(host.PointKeeper)
	v.create(w, 1)
	v.append(w, 1, 0, pattern(Capacity, 1))
	v.ok("sync", w.Sync(ctx, 1))
	p, err := h.TakePoint(ctx, host.PointOptions{Name: "kept"})
	v.ok("take point", err)
	v.ok("delete", w.Delete(ctx, 1))
	v.refused("forget", f.Forget(ctx, true), host.ErrHeld)
	if !f.Forgetting() {
		v.Error("it does not go on forgetting")
	}
	v.refused("end of forgetting", f.Forget(ctx, false), host.ErrHeld)
	got := make([]byte, Capacity)
	_, err = p.Read(ctx, 1, 0, got)
	v.ok("read what the point keeps", err)
	if !bytes.Equal(got, pattern(Capacity, 1)) {
		v.Error("what the point keeps was changed")
	}
	v.ok("close", p.Close())
	v.ok("drop", h.DropPoint(ctx, "kept"))
	v.ok("forget", f.Forget(ctx, false))
	if f.Forgetting() {
		v.Error("it goes on forgetting when that was ended")
	}
}

// keepsPoints reports whether a volume does. One in another process may find out only
// when it is asked.
func keepsPoints(t *testing.T, open Opener) bool {
	h, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	k, ok := h.(host.PointKeeper)
	if ok {
		_, err = k.Points(ctx)
	}
	return ok && !errors.Is(err, host.ErrInvalid)
}

func (v *volume) keeper() host.PointKeeper { return v.handle().(host.PointKeeper) }

// point takes a point, open until the end of the test.
func (v *volume) point(k host.PointKeeper, o host.PointOptions) host.Point {
	v.Helper()
	p, err := k.TakePoint(ctx, o)
	v.ok("take point", err)
	v.Cleanup(func() { _ = p.Close() })
	return p
}

// segment expects a point to have exactly these bytes as a segment.
func (v *volume) segmentOf(p host.Point, id host.SegmentID, want []byte) {
	v.Helper()
	size, ok := p.Contents().SegmentSize(id)
	if !ok || size != int64(len(want)) {
		v.Fatalf("segment %d of the point has %d bytes (%v), want %d", id, size, ok, len(want))
	}
	got := make([]byte, len(want))
	if n, err := p.Read(ctx, id, 0, got); err != nil || n != len(got) || !bytes.Equal(got, want) {
		v.Errorf("segment %d of the point reads as %.40q (%d bytes, %v), want %.40q", id, got, n, err, want)
	}
}

func pointIsWhatWasThen(v *volume) {
	w, k := v.acquire(), v.keeper()
	v.create(w, 1, 2)
	v.ok("append", w.Append(ctx, 1, 0, []byte("before")))
	version := v.swap(w, "root", "", "one")
	p := v.point(k, host.PointOptions{Name: "then"})
	v.ok("append", w.Append(ctx, 1, 6, []byte(" and after")))
	v.swap(w, "root", version, "two")
	v.swap(w, "header", "", "new")
	v.create(w, 3)

	c := p.Contents()
	if len(c.Records) != 1 || string(c.Records["root"]) != "one" {
		v.Errorf("records of the point: %q", c.Records)
	}
	if len(c.Segments) != 2 || c.Segments[0].ID != 1 || c.Segments[1].ID != 2 {
		v.Errorf("segments of the point: %v", c.Segments)
	}
	v.segmentOf(p, 1, []byte("before"))
	v.segmentOf(p, 2, nil)
	b := make([]byte, 10)
	if n, err := p.Read(ctx, 1, 2, b); n != 4 || !errors.Is(err, io.ErrUnexpectedEOF) || string(b[:n]) != "fore" {
		v.Errorf("read behind the end: %d, %v", n, err)
	}
	_, err := p.Read(ctx, 3, 0, b)
	v.refused("read a segment of later", err, host.ErrNotFound)
	_, err = p.Read(ctx, 0, 0, b)
	v.refused("read segment 0", err, host.ErrInvalid)
	if c.Info.Name != "then" || c.Info.ID == (host.PointID{}) || c.Info.Taken.IsZero() || !c.Info.Expires.IsZero() {
		v.Errorf("the point is %+v", c.Info)
	}
}

func pointKeepsWhatIsDeleted(v *volume) {
	w, k := v.acquire(), v.keeper()
	v.create(w, 1, 2)
	old := bytes.Repeat([]byte("old"), 1000)
	v.ok("append", w.Append(ctx, 1, 0, old))
	v.ok("append", w.Append(ctx, 2, 0, old))
	v.ok("sync", w.Sync(ctx, 1, 2))
	v.ok("close", v.point(k, host.PointOptions{Name: "kept"}).Close())
	v.held(k, 0)
	v.ok("delete", w.Delete(ctx, 1))
	v.held(k, Capacity)
	_, err := w.Read(ctx, 1, 0, make([]byte, 1))
	v.refused("read what was deleted", err, host.ErrNotFound)
	for id := host.SegmentID(10); id < 20; id++ { // nothing may be put over it
		v.create(w, id)
		v.ok("append", w.Append(ctx, id, 0, bytes.Repeat([]byte("new"), 1000)))
		v.ok("sync", w.Sync(ctx, id))
	}
	p, err := v.keeper().OpenPoint(ctx, "kept") // in another handle
	v.ok("open point", err)
	v.segmentOf(p, 1, old)
	v.segmentOf(p, 2, old)
	v.ok("close", p.Close())
	v.ok("drop", k.DropPoint(ctx, "kept"))
	v.held(k, 0)
	if list, err := k.Points(ctx); err != nil || len(list) != 0 {
		v.Errorf("points after the drop: %v, %v", list, err)
	}
	b := make([]byte, len(old))
	if _, err := w.Read(ctx, 2, 0, b); err != nil || !bytes.Equal(b, old) {
		v.Errorf("a segment of the volume went with the point: %v", err)
	}
}

// held expects the points to keep so much.
func (v *volume) held(k host.PointKeeper, want int64) {
	v.Helper()
	list, err := k.Points(ctx)
	v.ok("list points", err)
	var got int64
	for _, i := range list {
		got += i.HeldBytes
	}
	if got != want {
		v.Errorf("points keep %d bytes, want %d", got, want)
	}
}

func pointOfAReusedNumber(v *volume) {
	w, k := v.acquire(), v.keeper()
	v.create(w, 1)
	v.ok("append", w.Append(ctx, 1, 0, []byte("first")))
	first := v.point(k, host.PointOptions{})
	v.ok("delete", w.Delete(ctx, 1))
	v.create(w, 1)
	v.ok("append", w.Append(ctx, 1, 0, []byte("second")))
	second := v.point(k, host.PointOptions{})
	v.segmentOf(first, 1, []byte("first"))
	v.segmentOf(second, 1, []byte("second"))
	if a, b := first.Contents().Segments[0].Mark, second.Contents().Segments[0].Mark; a == b {
		v.Errorf("both segments have mark %d", a)
	}
}

func pointsOfAGrowingSegment(v *volume) {
	w, k := v.acquire(), v.keeper()
	v.create(w, 1)
	var points []host.Point
	for i := range 3 {
		v.ok("append", w.Append(ctx, 1, int64(3*i), []byte("abc")))
		points = append(points, v.point(k, host.PointOptions{}))
	}
	for i, p := range points {
		v.segmentOf(p, 1, bytes.Repeat([]byte("abc"), i+1))
		if got, want := p.Contents().Segments[0].Mark, points[0].Contents().Segments[0].Mark; got != want {
			v.Errorf("the segment has mark %d, and had %d", got, want)
		}
	}
}

func pointNames(v *volume) {
	k := v.keeper()
	p := v.point(k, host.PointOptions{Name: "monday"})
	_, err := k.TakePoint(ctx, host.PointOptions{Name: "monday"})
	v.refused("take another one of the name", err, host.ErrExists)
	for _, name := range []string{"Monday", "../monday", ".new", "a/b", string(make([]byte, host.MaxRecordName+1)), p.Contents().Info.ID.String()} {
		_, err := k.TakePoint(ctx, host.PointOptions{Name: name})
		v.refused("take "+name, err, host.ErrInvalid)
	}
	_, err = k.TakePoint(ctx, host.PointOptions{Keep: -1})
	v.refused("take one that has expired", err, host.ErrInvalid)
	for _, name := range []string{"tuesday", (host.PointID{1}).String(), "", "../" + pathOfPoints} {
		_, err := k.OpenPoint(ctx, name)
		v.refused("open "+name, err, host.ErrNotFound)
		v.refused("drop "+name, k.DropPoint(ctx, name), host.ErrNotFound)
	}
	v.point(k, host.PointOptions{})
	again, err := k.OpenPoint(ctx, p.Contents().Info.ID.String())
	v.ok("open by id", err)
	if again.Contents().Info != p.Contents().Info {
		v.Errorf("by its id it is %+v, by its name %+v", again.Contents().Info, p.Contents().Info)
	}
	v.ok("close", again.Close())
	list, err := k.Points(ctx)
	v.ok("list", err)
	if len(list) != 2 || list[0].Name != "monday" || list[1].Name == "" || list[1].Taken.Before(list[0].Taken) {
		v.Errorf("points: %+v", list)
	}
}

const pathOfPoints = "points"

func openPointStays(v *volume) {
	k := v.keeper()
	p := v.point(k, host.PointOptions{Name: "open"})
	other, err := k.OpenPoint(ctx, "open")
	v.ok("open", err)
	v.refused("drop", v.keeper().DropPoint(ctx, "open"), host.ErrInUse)
	v.ok("close", p.Close())
	v.refused("drop", k.DropPoint(ctx, "open"), host.ErrInUse)
	v.ok("close", other.Close())
	v.ok("drop", k.DropPoint(ctx, "open"))
	v.refused("drop", k.DropPoint(ctx, "open"), host.ErrNotFound)
}

func pointExpires(v *volume) {
	k := v.keeper()
	p := v.point(k, host.PointOptions{Name: "short", Keep: time.Nanosecond})
	v.point(k, host.PointOptions{Name: "long", Keep: time.Hour})
	list, err := k.Points(ctx)
	v.ok("list", err)
	if len(list) != 2 || list[0].Expires.IsZero() {
		v.Errorf("an open point expired: %+v", list)
	}
	v.ok("close", p.Close())
	for end := time.Now().Add(10 * time.Second); ; {
		list, err = k.Points(ctx)
		v.ok("list", err)
		if len(list) == 1 && list[0].Name == "long" {
			break
		}
		if time.Now().After(end) {
			v.Fatalf("it does not expire: %+v", list)
		}
	}
}

func pointCount(v *volume) {
	k := v.keeper()
	for range host.MaxPoints {
		p, err := k.TakePoint(ctx, host.PointOptions{})
		v.ok("take", err)
		v.ok("close", p.Close())
	}
	_, err := k.TakePoint(ctx, host.PointOptions{})
	v.refused("take one more", err, host.ErrNoSpace)
}

// pointWithoutAWriter takes a point of what earlier writers left.
func pointWithoutAWriter(v *volume) {
	h := v.handle()
	var want [][]byte
	for i := range 3 {
		w, err := h.Acquire(ctx, host.AcquireOptions{Takeover: true})
		v.ok("acquire", err)
		id := host.SegmentID(i + 1)
		v.create(w, id)
		want = append(want, bytes.Repeat([]byte{byte(i + 1)}, 100*(i+1)))
		v.ok("append", w.Append(ctx, id, 0, want[i]))
		if i > 0 { // the first one is fenced instead
			v.ok("release", w.Release(ctx))
		}
	}
	p := v.point(v.keeper(), host.PointOptions{})
	for i, b := range want {
		v.segmentOf(p, host.SegmentID(i+1), b)
	}
}

// pointIsAnInstant takes points of a volume that is being written: first to segment
// 1, then to segment 2, then as a record.
func pointIsAnInstant(v *volume) {
	w, k := v.acquire(), v.keeper()
	v.create(w, 1, 2)
	version := v.swap(w, "root", "", "\x00\x00\x00\x00\x00\x00\x00\x00")
	var synced atomic.Int64
	stop, ended := make(chan bool), make(chan error, 1)
	go func() {
		for n := int64(0); ; n++ {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			b := binary.BigEndian.AppendUint64(nil, uint64(n+1))
			err := w.Append(ctx, 1, 8*n, b)
			if err == nil {
				err = w.Append(ctx, 2, 8*n, b)
			}
			if err == nil {
				err = w.Sync(ctx, 1, 2)
			}
			if err == nil && n%4 == 0 {
				version, err = w.Swap(ctx, "root", version, b)
			}
			if err != nil || n > Capacity/16 {
				ended <- err
				return
			}
			synced.Store(n + 1)
		}
	}()
	for range 20 {
		before := synced.Load()
		p := v.point(k, host.PointOptions{})
		c := p.Contents()
		first, second := c.Segments[0].Size/8, c.Segments[1].Size/8
		root := int64(binary.BigEndian.Uint64(c.Records["root"]))
		if first < before || second > first || first > second+1 || root > second {
			v.Errorf("after %d the point has %d in the first segment, %d in the second, and record %d", before, first, second, root)
		}
		var want []byte
		for n := range first {
			want = binary.BigEndian.AppendUint64(want, uint64(n+1))
		}
		v.segmentOf(p, 1, want)
		v.segmentOf(p, 2, want[:8*second])
	}
	close(stop)
	v.ok("write", <-ended)
	if !slices.IsSortedFunc(v.list(k), func(a, b host.PointInfo) int { return a.Taken.Compare(b.Taken) }) {
		v.Error("points are not listed by their age")
	}
}

func (v *volume) list(k host.PointKeeper) []host.PointInfo {
	v.Helper()
	list, err := k.Points(ctx)
	v.ok("list points", err)
	return list
}

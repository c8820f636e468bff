package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
	"github.com/coffer-fs/coffer/store/host/transfer"
)

// hold opens a volume's writer until the end of the test.
func hold(t *testing.T, v host.Volume) host.Writer {
	t.Helper()
	w, err := v.Acquire(ctx, host.AcquireOptions{Owner: t.Name()})
	must(t, err)
	t.Cleanup(func() {
		_ = w.Release(ctx)
		must(t, v.Close())
	})
	return w
}

func newBucket(t *testing.T) (*s3test.Server, host.Writer) {
	t.Helper()
	s := s3test.New(t)
	o := s3.Options{Endpoint: s.URL, AccessKey: "test", SecretKey: "testtest", Beat: 50 * time.Millisecond}
	must(t, s3.Create(ctx, "s3://bucket/v", o))
	v, err := s3.Open(ctx, "s3://bucket/v", o)
	must(t, err)
	return s, hold(t, v)
}

func newLocal(t *testing.T) (*local.Volume, host.Writer) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "v")
	must(t, local.Create(dir))
	v, err := local.Open(dir)
	must(t, err)
	return v, hold(t, v)
}

const segmentSize = 3 << 20

// content is what segment id has.
func content(id host.SegmentID) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("segment %4d, ", id)), segmentSize/14)
}

func makeVolume(t *testing.T, w host.Writer) {
	t.Helper()
	for id := range host.SegmentID(5) {
		must(t, w.Create(ctx, id+1, segmentSize))
		must(t, w.Append(ctx, id+1, 0, content(id+1)))
		must(t, w.Sync(ctx, id+1))
	}
	for _, name := range []string{"header", "root"} {
		_, err := w.Swap(ctx, name, "", []byte(name))
		must(t, err)
	}
}

func isCopy(t *testing.T, r host.Reader) {
	t.Helper()
	infos, err := r.Segments(ctx)
	must(t, err)
	if len(infos) != 5 {
		t.Errorf("%d segments, want 5", len(infos))
	}
	for id := range host.SegmentID(5) {
		want := content(id + 1)
		got := make([]byte, len(want))
		_, err := r.Read(ctx, id+1, 0, got)
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("segment %d is another one", id+1)
		}
	}
	for _, name := range []string{"header", "root"} {
		if rec, err := r.Get(ctx, name); err != nil || string(rec.Value) != name {
			t.Errorf("record %q: %q, %v", name, rec.Value, err)
		}
	}
}

// A volume goes from a directory, while it is written, to an object store and back.
// Cut off at each segment it is no volume, and goes on with what is missing.
func TestFill(t *testing.T) {
	v, w := newLocal(t)
	makeVolume(t, w)
	p, err := v.TakePoint(ctx, host.PointOptions{})
	must(t, err)
	defer p.Close()
	must(t, w.Create(ctx, 9, segmentSize)) // and it goes on
	must(t, w.Append(ctx, 9, 0, content(9)))
	server, to := newBucket(t)
	must(t, to.Create(ctx, 7, 100)) // of an earlier attempt with another point
	must(t, to.Append(ctx, 7, 0, []byte("old")))
	must(t, to.Create(ctx, 3, segmentSize))
	must(t, to.Append(ctx, 3, 0, content(4)))
	must(t, to.Sync(ctx, 3, 7))

	for cut := range int64(5) {
		cutoff, stop := context.WithCancel(ctx)
		err := transfer.Fill(cutoff, p, to, transfer.FillOptions{Capacity: segmentSize, Progress: func(n int64) {
			if n > cut*int64(len(content(1))) {
				stop()
			}
		}})
		stop()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("cut %d: %v", cut, err)
		}
		if _, err := to.Get(ctx, "root"); !errors.Is(err, host.ErrNotFound) {
			t.Fatalf("cut %d: %v: half a copy is a volume", cut, err)
		}
	}
	server.Counts()
	must(t, transfer.Fill(ctx, p, to, transfer.FillOptions{Capacity: segmentSize}))
	if n := server.Counts()["PUT"]; n > 4 { // a delete, two records, a beat
		t.Errorf("%d requests write what was there", n)
	}
	isCopy(t, to)
	if err := transfer.Fill(ctx, p, to, transfer.FillOptions{}); !errors.Is(err, transfer.ErrFilled) {
		t.Errorf("fill a volume: %v", err)
	}

	back, err := transfer.Still(ctx, to)
	must(t, err)
	_, last := newLocal(t)
	must(t, transfer.Fill(ctx, back, last, transfer.FillOptions{Capacity: segmentSize}))
	isCopy(t, last)
	again, err := transfer.Still(ctx, last)
	must(t, err)
	_, other := newBucket(t)
	must(t, transfer.Fill(ctx, again, other, transfer.FillOptions{Capacity: segmentSize}))
	isCopy(t, other)
}

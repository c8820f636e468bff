package local_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

// What a record was replaced lies in pages of the catalog that nothing refers to:
// forgetting overwrites them, and the catalog is as good as before.
func TestForgetBlanksTheCatalog(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "vol")
	if err := local.Create(dir); err != nil {
		t.Fatal(err)
	}
	v, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	old := bytes.Repeat([]byte("an old value of the record. "), 1000)
	version, err := w.Swap(ctx, "record", "", old)
	if err == nil {
		version, err = w.Swap(ctx, "record", version, []byte("new"))
	}
	if err != nil {
		t.Fatal(err)
	}
	catalog := filepath.Join(dir, "catalog.db")
	count := func() int {
		b, err := os.ReadFile(catalog)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(b, []byte("an old value"))
	}
	if count() < 100 {
		t.Fatalf("a test of nothing: the old value is there %d times", count())
	}
	for _, more := range []bool{true, false} {
		if err := w.(host.Forgetter).Forget(ctx, more); err != nil {
			t.Fatal(err)
		}
		if w.(host.Forgetter).Forgetting() != more {
			t.Errorf("forgetting after %v", more)
		}
		if n := count(); n > 0 {
			t.Errorf("the old value is there %d times", n)
		}
	}
	rec, err := v.Get(ctx, "record")
	if err != nil || string(rec.Value) != "new" || rec.Version != version {
		t.Errorf("the record is %q in version %q: %v", rec.Value, rec.Version, err)
	}
	for range 50 { // more pages are freed and used
		if version, err = w.Swap(ctx, "record", version, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Release(ctx); err != nil {
		t.Fatal(err)
	}
}

// A copy of a segment that a crash cut off is of the volume as it was.
func TestForgetRemovesCopies(t *testing.T) {
	dir := newVolume(t)
	segments := filepath.Join(dir, "segments")
	must(t, os.WriteFile(filepath.Join(segments, "7.seg.copy"), []byte("sealed under the old key"), 0o600))
	must(t, os.WriteFile(filepath.Join(segments, "x.seg.copy"), []byte("not ours"), 0o600))
	w := acquire(t, dir)
	must(t, w.(host.Forgetter).Forget(context.Background(), false))
	if left := names(t, segments); len(left) != 1 || left[0] != "x.seg.copy" {
		t.Errorf("there are %q", left)
	}
}

// A holder who comes back goes on with its segments while the volume is made to forget.
func TestForgetBesideAdopt(t *testing.T) {
	const count = 100
	dir := newVolume(t)
	v := open(t, dir)
	token := [32]byte{1}
	w, err := v.AcquireAs(ctx, host.AcquireOptions{}, token)
	must(t, err)
	for id := range host.SegmentID(count) {
		must(t, w.Create(ctx, id+1, capacity))
		must(t, w.Append(ctx, id+1, 0, []byte("x")))
	}
	must(t, os.Remove(filepath.Join(dir, "tails"))) // as after a crash of the machine
	p, err := v.TakePoint(ctx, host.PointOptions{}) // so that each is copied
	must(t, err)
	defer p.Close()
	w, err = v.Resume(ctx, host.AcquireOptions{}, token)
	must(t, err)
	adopted := make(chan error, 1)
	go func() {
		var err error
		for id := range host.SegmentID(count) {
			err = errors.Join(err, w.(interface {
				Adopt(c context.Context, id host.SegmentID, capacity, tail int64) error
			}).Adopt(ctx, id+1, capacity, 1))
		}
		adopted <- err
	}()
	for {
		select {
		case err := <-adopted:
			if err != nil {
				t.Errorf("adopt: %v", err)
			}
			return
		default:
			if err := local.RemoveCopies(w); err != nil {
				t.Fatalf("forget: %v; adopt: %v", err, <-adopted)
			}
		}
	}
}

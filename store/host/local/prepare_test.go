package local_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

// A prepared segment has no place that is written for the first time, and one
// that is not prepared has.
func TestPrepare(t *testing.T) {
	const capacity = 3 << 20
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "v")
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
	defer w.Release(ctx)
	if err := w.(host.Preparer).Prepare(ctx, capacity, 2); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[host.SegmentID]bool{1: true, 2: true} {
		if err := w.Create(ctx, id, capacity); err != nil {
			t.Fatal(err)
		}
		if got := whole(t, filepath.Join(dir, "segments"), id, capacity); got != want {
			t.Errorf("segment %d: written before: %v", id, got)
		}
	}
	if err := w.Create(ctx, 3, capacity); err != nil {
		t.Fatal(err)
	}
	if whole(t, filepath.Join(dir, "segments"), 3, capacity) {
		t.Error("a segment that nobody prepared was written before")
	}
}

func whole(t *testing.T, dir string, id host.SegmentID, size int64) bool {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, string(rune('0'+id))+".seg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
	if err != nil {
		t.Fatal(err)
	}
	return hole == size
}

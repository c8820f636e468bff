package fs_test

import (
	"context"
	"errors"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/fs"
)

// A copy onto itself is refused however long it is: it would feed itself.
func TestCopyRangeOntoItself(t *testing.T) {
	f, _ := newFS(t)
	if err := f.WriteFile("a", make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := f.Tree().Lookup(context.Background(), fs.RootIno, "a")
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Tree().OpenInode(context.Background(), info.Ino)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	for _, size := range []int64{4096, math.MaxInt64 - 100, math.MaxInt64} {
		if n, err := fs.CopyRange(ctx, h, 0, h, 100, size); n != 0 || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%d bytes: %d were copied: %v", size, n, err)
		}
	}
}

// A copy to behind the end of its own file ends where the file ended before.
func TestCopyRangeBehindItself(t *testing.T) {
	const mib = 1 << 20
	f, _ := newFS(t)
	if err := f.WriteFile("a", make([]byte, mib), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	info, err := f.Tree().Lookup(ctx, fs.RootIno, "a")
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Tree().OpenInode(ctx, info.Ino)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if n, err := fs.CopyRange(ctx, h, 0, h, 2*mib, 2*mib); n != mib || err != nil {
		t.Errorf("%d bytes were copied (%v), want %d", n, err, mib)
	}
	if a, err := h.Attr(ctx); err != nil || a.Size != 3*mib {
		t.Errorf("the file has %d bytes (%v), want %d", a.Size, err, 3*mib)
	}
	if n, err := fs.CopyRange(ctx, h, 3*mib, h, 0, 10); n != 0 || err != nil {
		t.Errorf("from its end: %d bytes were copied (%v)", n, err)
	}
}

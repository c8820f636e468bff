package local_test

import (
	"fmt"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

func BenchmarkGet(b *testing.B) {
	w := acquire(b, newVolume(b))
	if _, err := w.Swap(ctx, "root", "", make([]byte, 512)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := w.Get(ctx, "root"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSwap(b *testing.B) {
	w := acquire(b, newVolume(b))
	var version host.Version
	for b.Loop() {
		var err error
		if version, err = w.Swap(ctx, "root", version, make([]byte, 512)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	w := acquire(b, newVolume(b))
	must(b, w.Create(ctx, 1, capacity))
	must(b, w.Append(ctx, 1, 0, make([]byte, capacity)))
	p := make([]byte, 4096)
	for b.Loop() {
		if _, err := w.Read(ctx, 1, 8192, p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppend appends 4 KiB, with and without a sync, to segments that are
// new or made of used files.
func BenchmarkAppend(b *testing.B) {
	for _, recycled := range []bool{false, true} {
		for _, sync := range []bool{false, true} {
			b.Run(fmt.Sprintf("recycled=%v/sync=%v", recycled, sync), func(b *testing.B) {
				benchmarkAppend(b, recycled, sync)
			})
		}
	}
}

func benchmarkAppend(b *testing.B, recycled, sync bool) {
	const size, segmentBytes = 4096, 16 << 20
	dir := newVolume(b)
	w := acquire(b, dir)
	p := make([]byte, size)
	id := host.SegmentID(1)
	next := func() {
		if recycled {
			must(b, w.Create(ctx, 999, segmentBytes))
			must(b, w.Append(ctx, 999, 0, make([]byte, segmentBytes)))
			must(b, w.Sync(ctx, 999))
			must(b, w.Delete(ctx, 999))
		} else {
			local.RemoveSpares(b, dir)
		}
		id++
		must(b, w.Create(ctx, id, segmentBytes))
		must(b, w.Sync(ctx, id))
	}
	off := int64(segmentBytes)
	for b.Loop() {
		if off == segmentBytes {
			b.StopTimer()
			if id > 1 {
				must(b, w.Delete(ctx, id))
			}
			next()
			off = 0
			b.StartTimer()
		}
		must(b, w.Append(ctx, id, off, p))
		if sync {
			must(b, w.Sync(ctx, id))
		}
		off += size
	}
}

package serve_test

import (
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/serve"
)

const benchBytes = 64 << 20

// benchWriters gives a writer of a directory, and one of a host process.
func benchWriters(b *testing.B, do func(b *testing.B, w host.Writer)) {
	b.Run("local", func(b *testing.B) {
		dir := filepath.Join(b.TempDir(), "v")
		must(b, local.Create(dir))
		v, err := local.Open(dir)
		must(b, err)
		defer v.Close()
		benchWriter(b, v, do)
	})
	b.Run("unix", func(b *testing.B) {
		url := "unix:" + start(b, newDir(b), serve.Options{}) + "#v"
		must(b, remote.Create(ctx, url, remote.Options{}))
		v, err := remote.Open(ctx, url, remote.Options{})
		must(b, err)
		defer v.Close()
		benchWriter(b, v, do)
	})
}

func benchWriter(b *testing.B, v host.Volume, do func(b *testing.B, w host.Writer)) {
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	must(b, err)
	must(b, w.(host.Preparer).Prepare(ctx, benchBytes, 1))
	must(b, w.Create(ctx, 1, benchBytes))
	must(b, w.Sync(ctx, 1))
	do(b, w)
	must(b, w.Release(ctx))
}

// BenchmarkAppend appends 4 KiB and syncs: what a commit costs.
func BenchmarkAppend(b *testing.B) {
	benchWriters(b, func(b *testing.B, w host.Writer) {
		p, off := make([]byte, 4096), int64(0)
		b.ResetTimer()
		for b.Loop() {
			if off == benchBytes {
				must(b, w.Delete(ctx, 1))
				must(b, w.Create(ctx, 1, benchBytes))
				off = 0
			}
			if both, ok := w.(host.AppendSyncer); ok {
				must(b, both.AppendSync(ctx, 1, off, p, 1))
			} else {
				must(b, w.Append(ctx, 1, off, p))
				must(b, w.Sync(ctx, 1))
			}
			off += int64(len(p))
		}
	})
}

// BenchmarkRead reads a segment from its begin to its end, 1 MiB at a time.
func BenchmarkRead(b *testing.B) {
	benchWriters(b, func(b *testing.B, w host.Writer) {
		p, off := make([]byte, 1<<20), int64(0)
		b.SetBytes(int64(len(p)))
		b.ResetTimer()
		for b.Loop() {
			_, err := w.Read(ctx, 1, off, p)
			must(b, err)
			off = (off + int64(len(p))) % benchBytes
		}
	})
}

package s3_test

import (
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
)

// benchWriter is a writer of a volume on the real server, which lists nothing and is
// on this machine.
func benchWriter(b *testing.B, d s3.Durability) host.Writer {
	b.Helper()
	o := options(s3test.NewGateway(b).URL)
	o.Durability, o.Dir, o.CacheBytes = d, b.TempDir(), 1<<20
	create(b, url, o)
	v, err := s3.Open(ctx, url, o)
	if err != nil {
		b.Fatal(err)
	}
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = w.Release(ctx); v.Close() })
	return w
}

// BenchmarkSync appends 4 KiB and syncs.
func BenchmarkSync(b *testing.B) {
	for name, d := range map[string]s3.Durability{"remote": s3.Remote, "local": s3.Local} {
		b.Run(name, func(b *testing.B) {
			w := benchWriter(b, d)
			p := pattern(4096, 1)
			id, off := host.SegmentID(0), int64(host.MaxSegmentSize)
			for b.Loop() {
				var err error
				if off+4096 > host.MaxSegmentSize {
					id, off = id+1, 0
					err = w.Create(ctx, id, host.MaxSegmentSize)
				}
				if err == nil {
					err = w.Append(ctx, id, off, p)
				}
				if err == nil {
					err = w.Sync(ctx, id)
				}
				if err != nil {
					b.Fatal(err)
				}
				off += 4096
			}
		})
	}
}

// BenchmarkRead reads 4 KiB of which nothing is in the cache.
func BenchmarkRead(b *testing.B) {
	w := benchWriter(b, s3.Remote)
	if _, err := fill(w, 1, host.MaxSegmentSize); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 4096)
	n := int64(0)
	for b.Loop() {
		n = (n + 5<<20 + 1<<16) % (host.MaxSegmentSize - 4096)
		if _, err := w.Read(ctx, 1, n, p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStream writes a segment of 64 MiB and syncs it.
func BenchmarkStream(b *testing.B) {
	w := benchWriter(b, s3.Remote)
	b.SetBytes(host.MaxSegmentSize)
	id := host.SegmentID(0)
	p := pattern(1<<20, 1)
	for b.Loop() {
		id++
		err := w.Create(ctx, id, host.MaxSegmentSize)
		for off := int64(0); err == nil && off < host.MaxSegmentSize; off += int64(len(p)) {
			err = w.Append(ctx, id, off, p)
		}
		if err == nil {
			err = w.Sync(ctx, id)
		}
		if err == nil {
			err = w.Delete(ctx, id)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

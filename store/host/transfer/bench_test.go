package transfer_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/point"
	"github.com/coffer-fs/coffer/store/host/transfer"
)

const (
	benchSegments = 32
	benchBytes    = 16 << 20
)

// benchPoint is a point of a volume of 512 MiB.
func benchPoint(b *testing.B) (string, host.Point) {
	dir, _, p := benchVolume(b, benchSegments)
	return dir, p
}

// benchVolume has so many segments of 16 MiB.
func benchVolume(b *testing.B, segments host.SegmentID) (string, host.Writer, host.Point) {
	dir := filepath.Join(b.TempDir(), "volume")
	must(b, local.Create(dir))
	v, err := local.Open(dir)
	must(b, err)
	b.Cleanup(func() { v.Close() })
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	must(b, err)
	p := make([]byte, benchBytes)
	rand.Read(p)
	for id := range segments {
		must(b, w.Create(ctx, id+1, benchBytes))
		must(b, w.Append(ctx, id+1, 0, p))
	}
	b.Cleanup(func() { _ = w.Release(ctx) })
	pt, err := v.TakePoint(ctx, host.PointOptions{})
	must(b, err)
	b.Cleanup(func() { pt.Close() })
	return dir, w, pt
}

// BenchmarkIncremental takes a point and sends what has changed since the one before: a
// MiB of volumes of several sizes.
func BenchmarkIncremental(b *testing.B) {
	for _, segments := range []host.SegmentID{4, 32, 128} {
		b.Run(fmt.Sprintf("%dMiB", segments*benchBytes>>20), func(b *testing.B) {
			dir, w, before := benchVolume(b, segments)
			v, err := local.Open(dir)
			must(b, err)
			defer v.Close()
			change := make([]byte, 1<<20)
			id, off := segments, int64(benchBytes)
			b.SetBytes(int64(len(change)))
			for b.Loop() {
				if off == benchBytes {
					id, off = id+1, 0
					must(b, w.Create(ctx, id, benchBytes))
				}
				must(b, w.Append(ctx, id, off, change))
				must(b, w.Sync(ctx, id))
				off += int64(len(change))
				p, err := v.TakePoint(ctx, host.PointOptions{})
				must(b, err)
				c := before.Contents()
				to, wait := drain(b)
				must(b, transfer.Send(ctx, to, p, point.Of(p.Contents(), &c), transfer.SendOptions{}))
				wait()
				must(b, before.Close())
				must(b, v.DropPoint(ctx, c.Info.Name))
				before = p
			}
			must(b, before.Close())
		})
	}
}

// BenchmarkReceive reads a whole stream into a directory, durably.
func BenchmarkReceive(b *testing.B) {
	_, p := benchPoint(b)
	m := point.Of(p.Contents(), nil)
	b.SetBytes(m.Bytes())
	for b.Loop() {
		r, w, err := os.Pipe()
		must(b, err)
		go func() { _ = transfer.Send(ctx, w, p, m, transfer.SendOptions{}); w.Close() }()
		dir := filepath.Join(b.TempDir(), "copy")
		_, err = transfer.Into(ctx, r, into(dir))
		must(b, err)
		r.Close()
		must(b, os.RemoveAll(dir))
	}
}

// drain is a process that reads the pipe and throws away what comes.
func drain(b *testing.B) (*os.File, func()) {
	r, w, err := os.Pipe()
	must(b, err)
	c := exec.Command("cat")
	c.Stdin, c.Stdout = r, nil
	must(b, c.Start())
	r.Close()
	return w, func() { w.Close(); must(b, c.Wait()) }
}

// BenchmarkSend and BenchmarkCat are to be compared: the same bytes into the same kind
// of pipe.
func BenchmarkSend(b *testing.B) {
	_, p := benchPoint(b)
	m := point.Of(p.Contents(), nil)
	for name, wrap := range map[string]func(*os.File) io.Writer{
		"Pipe":   func(f *os.File) io.Writer { return f },
		"Writer": func(f *os.File) io.Writer { return struct{ io.Writer }{f} },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(benchSegments * benchBytes)
			for b.Loop() {
				w, wait := drain(b)
				must(b, transfer.Send(ctx, wrap(w), p, m, transfer.SendOptions{}))
				wait()
			}
		})
	}
}

func BenchmarkCat(b *testing.B) {
	dir, _ := benchPoint(b)
	files, err := filepath.Glob(filepath.Join(dir, "segments", "*"))
	must(b, err)
	b.SetBytes(benchSegments * benchBytes)
	for b.Loop() {
		w, wait := drain(b)
		c := exec.Command("cat", files...)
		c.Stdout = w
		must(b, c.Run())
		wait()
	}
}

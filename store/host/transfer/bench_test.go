package transfer_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// BenchmarkSend sends what cat reads, in turn with it, to a process that throws it away:
// what counts are the ratios of the medians. cat gets a pipe as a shell makes it, and one
// that holds as much as Send asks for.
func BenchmarkSend(b *testing.B) {
	dir, p := benchPoint(b)
	m := point.Of(p.Contents(), nil)
	files, err := filepath.Glob(filepath.Join(dir, "segments", "*"))
	must(b, err)
	timed := func(list *[]time.Duration, do func(to *os.File)) {
		to, wait := drain(b)
		begun := time.Now()
		do(to)
		wait()
		*list = append(*list, time.Since(begun))
	}
	cat := func(to *os.File) {
		c := exec.Command("cat", files...)
		c.Stdout = to
		must(b, c.Run())
	}
	var sends, cats, wideCats []time.Duration
	for b.Loop() {
		timed(&sends, func(to *os.File) {
			must(b, transfer.Send(ctx, to, p, m, transfer.SendOptions{}))
		})
		timed(&cats, cat)
		timed(&wideCats, func(to *os.File) {
			_, err := unix.FcntlInt(to.Fd(), unix.F_SETPIPE_SZ, widePipe)
			must(b, err)
			cat(to)
		})
	}
	rate := func(list []time.Duration) float64 {
		slices.Sort(list)
		return float64(m.Bytes()) / list[len(list)/2].Seconds() / 1e6
	}
	b.ReportMetric(rate(sends), "send-MB/s")
	b.ReportMetric(rate(cats), "cat-MB/s")
	b.ReportMetric(rate(wideCats), "cat-into-a-wide-pipe-MB/s")
	b.ReportMetric(rate(sends)/rate(cats), "of-cat")
	b.ReportMetric(rate(sends)/rate(wideCats), "of-cat-into-a-wide-pipe")
}

// widePipe is what Send asks the kernel for.
const widePipe = 1 << 20

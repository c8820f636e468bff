package transfer_test

import (
	"context"
	"crypto/rand"
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
	ctx := context.Background()
	dir := filepath.Join(b.TempDir(), "volume")
	must(b, local.Create(dir))
	v, err := local.Open(dir)
	must(b, err)
	b.Cleanup(func() { v.Close() })
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	must(b, err)
	p := make([]byte, benchBytes)
	rand.Read(p)
	for id := range host.SegmentID(benchSegments) {
		must(b, w.Create(ctx, id+1, benchBytes))
		must(b, w.Append(ctx, id+1, 0, p))
	}
	must(b, w.Release(ctx))
	pt, err := v.TakePoint(ctx, host.PointOptions{})
	must(b, err)
	b.Cleanup(func() { pt.Close() })
	return dir, pt
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
				must(b, transfer.Send(context.Background(), wrap(w), p, m, transfer.SendOptions{}))
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

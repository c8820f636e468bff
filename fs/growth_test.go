package fs_test

import (
	"context"
	"fmt"
	iofs "io/fs"
	"sync/atomic"
	"testing"

	cofs "github.com/coffer-fs/coffer/fs"
	coiofs "github.com/coffer-fs/coffer/fs/iofs"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// counting is a host that counts what it is asked for.
type counting struct {
	host.Volume
	reads, read, appended atomic.Int64 // calls, bytes, bytes
}

func (c *counting) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	w, err := c.Volume.Acquire(ctx, o)
	if err != nil {
		return nil, err
	}
	return &countingWriter{w, c}, nil
}

type countingWriter struct {
	host.Writer
	c *counting
}

func (w *countingWriter) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (int, error) {
	w.c.reads.Add(1)
	w.c.read.Add(int64(len(p)))
	return w.Writer.Read(ctx, id, off, p)
}

func (w *countingWriter) Append(ctx context.Context, id host.SegmentID, off int64, p []byte) error {
	w.c.appended.Add(int64(len(p)))
	return w.Writer.Append(ctx, id, off, p)
}

// cost is what one step asks of the host.
type cost struct{ reads, read, appended int64 }

// growthSteps are what is done with a thousand files of a volume that has many or few
// others. Each begins with the volume just opened: nothing is cached.
var growthSteps = []struct {
	name string
	do   func(*testing.T, *cofs.FS)
}{
	{"open it", func(*testing.T, *cofs.FS) {}},
	{"create and sync", func(t *testing.T, f *cofs.FS) { makeFiles(t, f, "w", 0, 1000, true) }},
	{"create", func(t *testing.T, f *cofs.FS) { makeFiles(t, f, "w", 1000, 2000, false) }},
	{"list", func(t *testing.T, f *cofs.FS) {
		seen := 0
		must(t, iofs.WalkDir(coiofs.New(f), "w", func(_ string, d iofs.DirEntry, err error) error {
			seen++
			if err == nil {
				_, err = d.Info()
			}
			return err
		}))
		if seen != 2001 {
			t.Fatalf("%d names", seen)
		}
	}},
	{"read", func(t *testing.T, f *cofs.FS) {
		for i := range 1000 {
			_, err := f.ReadFile(fmt.Sprintf("w/%06d", i))
			must(t, err)
		}
	}},
	{"remove", func(t *testing.T, f *cofs.FS) {
		for i := range 2000 {
			must(t, f.Remove(fmt.Sprintf("w/%06d", i)))
		}
	}},
}

// makeFiles makes files of 200 bytes.
func makeFiles(t *testing.T, f *cofs.FS, dir string, first, end int, synced bool) {
	t.Helper()
	must(t, f.MkdirAll(dir, 0o700))
	for i := first; i < end; i++ {
		h, err := f.Create(fmt.Sprintf("%s/%06d", dir, i))
		must(t, err)
		_, err = h.Write(make([]byte, 200))
		must(t, err)
		if synced {
			must(t, h.Sync())
		}
		must(t, h.Close())
	}
}

// growthCosts does the steps in a volume with so many other files.
func growthCosts(t *testing.T, others int) []cost {
	t.Helper()
	c := &counting{Volume: memhost.New(memhost.Options{})}
	storetest.Create(t, c, 2<<30)
	st := storetest.Open(t, c)
	must(t, cofs.Format(bg, st, 0, 0))
	must(t, st.Close())
	session := func(do func(*testing.T, *cofs.FS)) cost {
		before := cost{c.reads.Load(), c.read.Load(), c.appended.Load()}
		st := storetest.Open(t, c)
		f, err := cofs.Open(bg, st, cofs.Options{})
		must(t, err)
		do(t, f)
		must(t, f.Close())
		must(t, st.Close())
		return cost{c.reads.Load() - before.reads, c.read.Load() - before.read, c.appended.Load() - before.appended}
	}
	session(func(t *testing.T, f *cofs.FS) {
		for first := 0; first < others; first += 1000 {
			makeFiles(t, f, fmt.Sprint("others/", first), 0, min(1000, others-first), false)
		}
	})
	var costs []cost
	for _, s := range growthSteps {
		costs = append(costs, session(s.do))
	}
	return costs
}

// TestGrowth counts what a thousand files ask of the host: as much in a volume that
// has many others as in one that has none. Time differs from run to run, this does not.
func TestGrowth(t *testing.T) {
	small, large := growthCosts(t, 0), growthCosts(t, 50_000)
	for i, s := range growthSteps {
		t.Logf("%-16s alone %6d reads of %9d bytes, %9d appended; beside 50,000 others %6d of %9d, %9d",
			s.name, small[i].reads, small[i].read, small[i].appended, large[i].reads, large[i].read, large[i].appended)
		for _, c := range []struct {
			what         string
			small, large int64
			slack        int64 // a few more nodes on the way down
		}{
			{"reads", small[i].reads, large[i].reads, 8},
			{"bytes read", small[i].read, large[i].read, 8 << 14},
			{"bytes appended", small[i].appended, large[i].appended, 8 << 14},
		} {
			if c.large > c.small*3/2+c.slack {
				t.Errorf("%s: %d %s beside 50,000 other files, %d alone", s.name, c.large, c.what, c.small)
			}
		}
	}
}

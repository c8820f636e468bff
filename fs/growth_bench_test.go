package fs_test

import (
	"fmt"
	iofs "io/fs"
	"path/filepath"
	"runtime"
	"testing"

	cofs "github.com/coffer-fs/coffer/fs"
	coiofs "github.com/coffer-fs/coffer/fs/iofs"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/storetest"
)

// grown makes a volume in a directory with so many small files, 1,000 in each
// directory, and returns it closed.
func grown(b *testing.B, files int) *local.Volume {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "volume")
	if err := local.Create(dir); err != nil {
		b.Fatal(err)
	}
	v, err := local.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = v.Close() })
	storetest.Create(b, v, 8<<30)
	st := storetest.Open(b, v)
	if err := cofs.Format(bg, st, 0, 0); err != nil {
		b.Fatal(err)
	}
	f, err := cofs.Open(bg, st, cofs.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range files {
		if i%1000 == 0 {
			if err := f.Mkdir(fmt.Sprint(i/1000), 0o700); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.WriteFile(fmt.Sprintf("%d/%d", i/1000, i), []byte("contents"), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
	return v
}

// BenchmarkOpen opens and closes a volume: as quickly with many files as with few.
func BenchmarkOpen(b *testing.B) {
	for _, files := range []int{100, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("%d files", files), func(b *testing.B) {
			v := grown(b, files)
			for b.Loop() {
				st := storetest.Open(b, v)
				f, err := cofs.Open(bg, st, cofs.Options{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := f.Stat("0/7"); err != nil {
					b.Fatal(err)
				}
				if err := f.Close(); err != nil {
					b.Fatal(err)
				}
				if err := st.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWalk goes through all names and attributes, and tells how much of the
// heap was in use at the most after a collection on the way.
func BenchmarkWalk(b *testing.B) {
	for _, files := range []int{100, 1_000_000} {
		b.Run(fmt.Sprintf("%d files", files), func(b *testing.B) {
			v := grown(b, files)
			var most uint64
			for b.Loop() {
				most = max(most, walked(b, v))
			}
			b.ReportMetric(float64(most)/(1<<20), "MiB-heap")
		})
	}
}

func walked(b *testing.B, v *local.Volume) (most uint64) {
	b.Helper()
	st := storetest.Open(b, v)
	f, err := cofs.Open(bg, st, cofs.Options{})
	if err != nil {
		b.Fatal(err)
	}
	seen := 0
	err = iofs.WalkDir(coiofs.New(f), ".", func(_ string, d iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if seen++; seen%100_000 == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		_, err = d.Info()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
	return most
}

// BenchmarkTakeSnapshot takes one: as quickly of many files as of few.
func BenchmarkTakeSnapshot(b *testing.B) {
	for _, files := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("%d files", files), func(b *testing.B) {
			st := storetest.Open(b, grown(b, files))
			f, err := cofs.Open(bg, st, cofs.Options{})
			if err != nil {
				b.Fatal(err)
			}
			taken := 0
			for b.Loop() {
				name := fmt.Sprint(taken)
				taken++
				if _, err := f.TakeSnapshot(name); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := f.DeleteSnapshot(name); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
			if err := st.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

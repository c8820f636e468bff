// Command migrating measures what bringing a volume under another key takes, and what
// it costs whoever uses the volume meanwhile, on a directory of this machine:
//
//   - migration alone, beside what the disk reads and writes and what all cores open and
//     seal, with nothing of the volume in the page cache;
//   - random writes of 4 KiB, each with an fsync, alone, beside a migration, and beside
//     one that keeps to a rate.
//
// It is run by make bench-migrate.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/seal"
)

const mib = 1 << 20

// plan is what to measure.
type plan struct {
	dir   string
	bytes int64 // of data in the volume; 0: what it takes, see fill
	slice time.Duration
	rate  int64 // of the migration that keeps to one
}

func main() {
	var p plan
	var size, rate int
	flag.StringVar(&p.dir, "dir", "", "directory on the disk to measure; default a temporary one")
	flag.IntVar(&size, "size", 0, "data in the volume, in MiB; default as much as keeps a migration busy for as long as writes are measured")
	flag.IntVar(&rate, "rate", 8, "MiB a second of the migration that keeps to a rate")
	flag.DurationVar(&p.slice, "for", 10*time.Second, "how long writes are measured each time")
	flag.Parse()
	p.bytes, p.rate = int64(size)*mib, int64(rate)*mib
	if err := p.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "migrating:", err)
		os.Exit(1)
	}
}

func (p plan) run(ctx context.Context) error {
	work, err := os.MkdirTemp(p.dir, "coffer-migrating-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	o, err := p.create(ctx, filepath.Join(work, "volume"))
	if err != nil {
		return err
	}
	err = errors.Join(p.alone(ctx, o, work), p.beside(ctx, o))
	return errors.Join(err, o.close())
}

// opened is a volume in use.
type opened struct {
	dir   string
	host  *local.Volume
	store *store.Store
	fs    *fs.FS
	keys  int // so far
}

func (o *opened) close() error { return errors.Join(o.fs.Close(), o.store.Close(), o.host.Close()) }

func secret(n int) store.Secret {
	return store.Secret{Kind: seal.SlotSpec, Descriptor: fmt.Append(nil, "bench ", n), Key: key.New()}
}

// create makes a volume with so much in it.
func (p plan) create(ctx context.Context, dir string) (o *opened, err error) {
	o = &opened{dir: dir}
	if err := local.Create(dir); err != nil {
		return nil, err
	}
	if o.host, err = local.Open(dir); err != nil {
		return nil, err
	}
	s := secret(0)
	if err := store.Create(ctx, o.host, store.CreateOptions{Capacity: 2*max(p.bytes, mostBytes) + 512*mib, Secret: s}); err != nil {
		return nil, err
	}
	if o.store, err = store.Open(ctx, o.host, store.Options{Unlocker: store.Secrets{s}}); err != nil {
		return nil, err
	}
	if err := fs.Format(ctx, o.store, 0, 0); err != nil {
		return nil, err
	}
	if o.fs, err = fs.Open(ctx, o.store, fs.Options{}); err != nil {
		return nil, err
	}
	return o, p.fill(o)
}

// fileBytes is the size of each file of the volume.
const fileBytes = 16 * mib

// What is filled in if nobody says how much.
const (
	leastBytes = 1024 * mib
	mostBytes  = 8192 * mib
)

// fill writes files, each made durable: so many bytes, or for as long as writes will be
// measured, since a migration of what took so long takes longer beside them.
func (p plan) fill(o *opened) error {
	rng := rand.NewChaCha8([32]byte{1})
	begun := time.Now()
	for n := int64(0); !p.filled(n*fileBytes, time.Since(begun)); n++ {
		if err := fillFile(o.fs, fmt.Sprintf("file%d", n), rng); err != nil {
			return err
		}
	}
	return errors.Join(o.fs.Sync(), o.store.Checkpoint(context.Background()))
}

func (p plan) filled(bytes int64, took time.Duration) bool {
	if p.bytes > 0 {
		return bytes >= p.bytes
	}
	return bytes >= mostBytes || bytes >= leastBytes && took >= p.slice
}

func fillFile(to *fs.FS, name string, rng io.Reader) error {
	f, err := to.Create(name)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(rng, fileBytes), make([]byte, mib)); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

// migrate brings the volume under another key, and says how much was sealed anew.
func (o *opened) migrate(ctx context.Context, c *migrate.Control) (migrate.Summary, error) {
	o.keys++
	return migrate.Live(ctx, o.store, migrate.Options{New: secret(o.keys), Control: c})
}

// alone measures a migration of a volume that nobody uses.
func (p plan) alone(ctx context.Context, o *opened, work string) error {
	if err := uncache(o.dir); err != nil {
		return err
	}
	disk, err := copyRate(o.dir, filepath.Join(work, "copy"))
	if err != nil {
		return err
	}
	crypto := cryptoRate()
	if err := uncache(o.dir); err != nil {
		return err
	}
	before, stop := heap(), watchHeap()
	sum, err := o.migrate(ctx, &migrate.Control{})
	live, inUse := stop()
	if err != nil {
		return err
	}
	rate := float64(sum.Bytes) / sum.Took.Seconds()
	fmt.Printf("disk, read and write:        %6.0f MB/s\n", disk/1e6)
	fmt.Printf("AES, open and seal, %d cores: %6.0f MB/s\n", runtime.GOMAXPROCS(0), crypto/1e6)
	fmt.Printf("migration alone:             %6.0f MB/s, %.2f of the smaller; %d MB in %.1f s\n",
		rate/1e6, rate/min(disk, crypto), sum.Bytes/1e6, sum.Took.Seconds())
	fmt.Printf("heap, alive:                 %6d MiB before, at most %d MiB during it; %d MiB with what is not collected yet\n",
		before/mib, live/mib, inUse/mib)
	return nil
}

// beside measures writes with and without a migration.
func (p plan) beside(ctx context.Context, o *opened) error {
	w, err := newWriter(o.fs)
	if err != nil {
		return err
	}
	if _, err := w.run(ctx, p.slice/4); err != nil { // until it is warm
		return err
	}
	for _, rate := range []int64{0, p.rate} {
		before, err := w.run(ctx, p.slice/2)
		if err != nil {
			return err
		}
		c := &migrate.Control{}
		c.SetRate(rate)
		with, moved, err := p.during(ctx, o, w, c)
		if err != nil {
			return err
		}
		after, err := w.run(ctx, p.slice/2)
		if err != nil {
			return err
		}
		alone := (before.perSecond + after.perSecond) / 2
		fmt.Printf("write and fsync, before:     %v\n", before)
		name := "beside a migration:          "
		if rate > 0 {
			name = fmt.Sprintf("beside one at %3d MiB/s:      ", rate/mib)
		}
		fmt.Printf("%s%v; %.2f of the rate alone; the migration made %.1f MB/s\n", name, with, with.perSecond/alone, moved/1e6)
		fmt.Printf("write and fsync, after:      %v\n", after)
	}
	return w.file.Close()
}

// leastBeside is how long both must have gone on for a figure to say something.
const leastBeside = time.Second

// during writes while the volume is migrated, and then lets the migration end alone.
func (p plan) during(ctx context.Context, o *opened, w *writer, c *migrate.Control) (r result, moved float64, err error) {
	sealing, done := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		defer done()
		_, err := o.migrate(ctx, c)
		ended <- err
	}()
	for c.State().Phase != migrate.Sealing && sealing.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	before, begun := c.State().Progress, time.Now()
	if r, err = w.run(sealing, p.slice); err != nil {
		return r, 0, err
	}
	took, after := time.Since(begun), c.State().Progress
	c.SetRate(0)
	if err := <-ended; err != nil {
		return r, 0, err
	}
	if took < leastBeside {
		return r, 0, fmt.Errorf("the migration ended after %v: give it more to do with -size", took)
	}
	left := func(p migrate.Progress) int64 { return p.TotalBytes - p.DoneBytes }
	return r, float64(left(before)-left(after)) / took.Seconds(), nil
}

// writer writes blocks of 4 KiB at random places of a file, each with an fsync.
type writer struct {
	file *fs.File
	rng  *rand.Rand
}

const writerBytes = 64 * mib

func newWriter(f *fs.FS) (*writer, error) {
	file, err := f.Create("written")
	if err != nil {
		return nil, err
	}
	w := &writer{file, rand.New(rand.NewPCG(1, 2))}
	for range writerBytes / mib {
		if _, err := file.Write(make([]byte, mib)); err != nil {
			return nil, err
		}
	}
	return w, file.Sync()
}

// result is what writes took.
type result struct {
	perSecond float64
	p50, p99  time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("%5.0f/s, p50 %.2f ms, p99 %.2f ms", r.perSecond, r.p50.Seconds()*1e3, r.p99.Seconds()*1e3)
}

// run writes for so long, or until the context ends.
func (w *writer) run(ctx context.Context, d time.Duration) (result, error) {
	var took []time.Duration
	b := make([]byte, 4096)
	begun := time.Now()
	for time.Since(begun) < d && ctx.Err() == nil || len(took) == 0 {
		at := time.Now()
		b[0]++
		if _, err := w.file.WriteAt(b, w.rng.Int64N(writerBytes/4096)*4096); err != nil {
			return result{}, err
		}
		if err := w.file.Sync(); err != nil {
			return result{}, err
		}
		took = append(took, time.Since(at))
	}
	per := float64(len(took)) / time.Since(begun).Seconds()
	slices.Sort(took)
	return result{per, took[len(took)/2], took[len(took)*99/100]}, nil
}

// uncache takes the files of a directory out of the page cache.
func uncache(dir string) error {
	unix.Sync()
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}

// copyRate copies the segments to another place, as fast as the machine does, and
// makes them durable one by one: bytes a second.
func copyRate(dir, to string) (float64, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "segments", "*.seg"))
	if err != nil {
		return 0, err
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return 0, err
	}
	defer os.RemoveAll(to)
	var sum int64
	begun := time.Now()
	for _, path := range paths {
		n, err := copyFile(path, filepath.Join(to, filepath.Base(path)))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return float64(sum) / time.Since(begun).Seconds(), nil
}

func copyFile(from, to string) (int64, error) {
	src, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	defer dst.Close()
	// Through memory, as everything must that is encrypted.
	n, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, mib))
	return n, errors.Join(err, dst.Sync())
}

// cryptoRate opens and seals frames on all cores: bytes a second.
func cryptoRate() float64 {
	const each = 512 * mib
	workers := runtime.GOMAXPROCS(0)
	done := make(chan struct{})
	begun := time.Now()
	for range workers {
		go func() {
			k := seal.NewSegmentKey(key.New(), [16]byte{}, 1, [32]byte{})
			plain := make([]byte, store.MaxFrame)
			sealed := k.Seal(nil, seal.FrameData, 0, plain)
			for n := 0; n < each; n += len(plain) {
				p, err := k.Open(plain[:0], seal.FrameData, 0, sealed)
				if err != nil {
					panic(err)
				}
				sealed = k.Seal(sealed[:0], seal.FrameData, 0, p)
			}
			done <- struct{}{}
		}()
	}
	for range workers {
		<-done
	}
	return float64(workers*each) / time.Since(begun).Seconds()
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// watchHeap looks at the heap until it is stopped, and returns the most that was found
// alive by a collection, and the most that was in use together with what was garbage.
func watchHeap() (stop func() (live, inUse uint64)) {
	ended, most := make(chan struct{}), make(chan [2]uint64)
	go func() {
		var peak [2]uint64
		alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			metrics.Read(alive)
			peak = [2]uint64{max(peak[0], alive[0].Value.Uint64()), max(peak[1], m.HeapInuse)}
			select {
			case <-ended:
				most <- peak
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() (uint64, uint64) {
		close(ended)
		peak := <-most
		return peak[0], peak[1]
	}
}

// Command cleaning measures what cleaning costs whoever writes: random
// overwrites of 4 KiB of a file that fills a part of a volume, on a directory of
// this machine, after the state has become steady. It prints, for each filling,
// how many bytes went to the host for one of the user's, and how long writes and
// syncs took.
//
// It is run by make bench-cleaning.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/seal"
)

const block = 4096

// plan is what to measure.
type plan struct {
	dir       string
	capacity  int64
	syncEvery int // writes
	rate      int // writes a second, 0 for as many as there can be
	rounds    int // overwrites of the whole file that are measured
	verbose   bool
}

func main() {
	var p plan
	var mib int
	flag.StringVar(&p.dir, "dir", "", "directory on the disk to measure; default a temporary one")
	flag.IntVar(&mib, "size", 1024, "size of the volume, in MiB")
	full := flag.String("full", "50,80,90", "how full the volume is, in per cent")
	flag.IntVar(&p.syncEvery, "sync", 64, "writes from one fsync to the next")
	flag.IntVar(&p.rate, "rate", 0, "writes a second; 0 is as many as there can be")
	flag.IntVar(&p.rounds, "rounds", 2, "how many times as much as there is in the file is written while measuring")
	flag.BoolVar(&p.verbose, "v", false, "show what the store logs")
	flag.Parse()
	p.capacity = int64(mib) << 20
	if err := p.run(*full); err != nil {
		fmt.Fprintln(os.Stderr, "cleaning:", err)
		os.Exit(1)
	}
}

func (p plan) run(full string) error {
	fmt.Println("| full | host bytes for one | MB/s | write p50 | p99 | p99.9 | longest | sync p50 | p99 | p99.9 | longest | host sync p50 | p99 | p99.9 | longest | over 100 ms |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, word := range strings.Split(full, ",") {
		percent, err := strconv.Atoi(word)
		if err != nil {
			return err
		}
		if err := p.measure(percent); err != nil {
			return fmt.Errorf("at %d %%: %w", percent, err)
		}
	}
	return nil
}

// opened is a volume in use.
type opened struct {
	store *store.Store
	fs    *fs.FS
	host  *counting
}

func (o *opened) close() error {
	if err := o.fs.Close(); err != nil {
		return err
	}
	if err := o.store.Close(); err != nil {
		return err
	}
	return o.host.Close()
}

// create makes a volume with a filesystem in it.
func (p plan) create(ctx context.Context, dir string) (*opened, error) {
	if err := local.Create(dir); err != nil {
		return nil, err
	}
	v, err := local.Open(dir)
	if err != nil {
		return nil, err
	}
	host := &counting{Volume: v}
	secret := store.Secret{Kind: seal.SlotSpec, Descriptor: []byte("bench"), Key: key.New()}
	if err := store.Create(ctx, host, store.CreateOptions{Capacity: p.capacity, Secret: secret}); err != nil {
		return nil, err
	}
	logger := slog.New(slog.DiscardHandler)
	if p.verbose {
		logger = slog.Default()
	}
	s, err := store.Open(ctx, host, store.Options{Unlocker: store.Secrets{secret}, Logger: logger})
	if err != nil {
		return nil, err
	}
	if err := fs.Format(ctx, s, 0, 0); err != nil {
		return nil, err
	}
	f, err := fs.Open(ctx, s, fs.Options{Logger: logger})
	return &opened{s, f, host}, err
}

// measure fills a volume, lets it become steady, and prints one line.
func (p plan) measure(percent int) error {
	work, err := os.MkdirTemp(p.dir, "coffer-cleaning-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	o, err := p.create(context.Background(), filepath.Join(work, "volume"))
	if err != nil {
		return err
	}
	file, err := o.fs.Create("file")
	if err != nil {
		return err
	}
	space := o.store.Space()
	w := &overwriter{file: file, plan: p, rng: rand.New(rand.NewPCG(1, uint64(percent)))}
	w.blocks = int((space.Used+space.Available)*int64(percent)/100) / (block + 150) // with its share of the tree
	if err := w.fill(); err != nil {
		return err
	}
	if err := w.overwrite(2 * w.blocks); err != nil { // until it is steady
		return err
	}
	w.writes, w.syncs = nil, nil
	o.host.takeSyncs()
	before, begun, count := o.host.bytes.Load(), time.Now(), p.rounds*w.blocks
	if p.rate > 0 {
		w.next, w.pause = begun, time.Second/time.Duration(p.rate)
	}
	if err := w.overwrite(count); err != nil {
		return err
	}
	took := time.Since(begun)
	space = o.store.Space()
	fmt.Printf("| %d %% | %.2f | %.1f | %s | %s | %s | %d of %d |\n",
		100*space.Used/(space.Used+space.Available),
		float64(o.host.bytes.Load()-before)/float64(count*block), float64(count*block)/1e6/took.Seconds(),
		distribution(w.writes), distribution(w.syncs), distribution(o.host.takeSyncs()), over(w.writes)+over(w.syncs), len(w.writes)+len(w.syncs))
	if err := file.Close(); err != nil {
		return err
	}
	return o.close()
}

// overwriter writes blocks of one file.
type overwriter struct {
	plan
	file          *fs.File
	rng           *rand.Rand
	blocks        int
	next          time.Time     // when the next write is due
	pause         time.Duration // between two writes
	writes, syncs []time.Duration
}

// fill writes the file from its start to its end.
func (w *overwriter) fill() error {
	buf := make([]byte, 64*block)
	for at := 0; at < w.blocks; at += 64 {
		noise(w.rng, buf)
		n := min(64, w.blocks-at) * block
		if _, err := w.file.WriteAt(buf[:n], int64(at)*block); err != nil {
			return err
		}
	}
	return w.file.Sync()
}

// overwrite writes n blocks at random.
func (w *overwriter) overwrite(n int) error {
	buf := make([]byte, block)
	noise(w.rng, buf)
	for i := range n {
		if w.pause > 0 {
			w.next = w.next.Add(w.pause)
			time.Sleep(time.Until(w.next))
		}
		begun := time.Now()
		if _, err := w.file.WriteAt(buf, w.rng.Int64N(int64(w.blocks))*block); err != nil {
			return err
		}
		w.writes = append(w.writes, time.Since(begun))
		if i%w.syncEvery == w.syncEvery-1 {
			begun = time.Now()
			if err := w.file.Sync(); err != nil {
				return err
			}
			w.syncs = append(w.syncs, time.Since(begun))
		}
	}
	return w.file.Sync()
}

func noise(r *rand.Rand, p []byte) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
}

// distribution sorts times and tells how they are distributed.
func distribution(times []time.Duration) string {
	slices.Sort(times)
	if len(times) == 0 {
		return "- | - | - | -"
	}
	at := func(share float64) string {
		d := times[min(len(times)-1, int(share*float64(len(times))))]
		return fmt.Sprintf("%.3g ms", float64(d.Microseconds())/1000)
	}
	return strings.Join([]string{at(0.5), at(0.99), at(0.999), at(1)}, " | ")
}

func over(times []time.Duration) (count int) {
	for _, d := range times {
		if d > 100*time.Millisecond {
			count++
		}
	}
	return count
}

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// stage is what a volume has been through before it is measured again, beside a
// small one that is fresh.
type stage struct {
	name string
	size string // of the volume
	grow func(dir string) error
}

var stages = []stage{
	{"10,000 files", "16g", func(dir string) error { return fill(dir, 0, 10_000) }},
	{"100,000 files", "16g", func(dir string) error { return fill(dir, 10_000, 100_000) }},
	{"1,000,000 files", "16g", func(dir string) error { return fill(dir, 100_000, 1_000_000) }},
	{"overwritten ten times at 80 %", agedSize, overwriteTenTimes},
}

// probes are what is measured before and after: with less data than the workloads,
// since it has to fit into what is left of a volume at 80 %.
var probes = []workload{
	{name: "sequential write 64 MiB + fsync", unit: "MB/s", run: func(dir string) (float64, error) {
		return probeBytes / 1e6, writeFile(filepath.Join(dir, "file"), probeBytes, 1<<20, true)
	}},
	{name: "cold sequential read 64 MiB", unit: "MB/s", cold: true, prepare: func(dir string) error {
		return writeFile(filepath.Join(dir, "file"), probeBytes, 1<<20, true)
	}, run: readStream},
	{name: "4 KiB random write + fdatasync", unit: "ops/s", prepare: prepareRandom(1), run: writeRandom(1)},
	{name: "create + write + fsync of 4 KiB", unit: "files/s", run: createFiles(1)},
	{name: "create of 5,000 files", unit: "files/s", run: func(dir string) (float64, error) { return probeFiles, fill(dir, 0, probeFiles) }},
	{name: "cold ls -lR of 5,000 files", unit: "files/s", cold: true,
		prepare: func(dir string) error { return fill(dir, 0, probeFiles) },
		run:     func(dir string) (float64, error) { return probeFiles, in(dir, 0, "ls", "-lR", ".") }},
	{name: "rm -rf of 5,000 files", unit: "files/s",
		prepare: func(dir string) error { return fill(dir, 0, probeFiles) },
		run: func(dir string) (float64, error) {
			if err := in(dir, 0, "sh", "-c", "rm -rf *"); err != nil {
				return 0, err
			}
			return probeFiles, settle(dir)
		}},
}

const (
	probeBytes = 64 << 20
	probeFiles = 5000
	agedSize   = "2g"
	agedBytes  = 2 << 30
	// perDirectory is how many files fill puts into one directory.
	perDirectory = 1000
	fillers      = 4
)

// fill makes files of a few bytes, numbered from first on, before end.
func fill(dir string, first, end int) error {
	var wg sync.WaitGroup
	errs := make([]error, fillers)
	for w := range fillers {
		wg.Go(func() {
			for d := first/perDirectory + w; d*perDirectory < end && errs[w] == nil; d += fillers {
				errs[w] = fillDirectory(filepath.Join(dir, fmt.Sprintf("d%05d", d)))
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, settle(dir))...)
}

func fillDirectory(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for n := range perDirectory {
		if err := os.WriteFile(fileName(dir, n), smallFile[:200], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// overwriteTenTimes fills 80 % of a volume of agedBytes and overwrites pieces of
// it in any order, ten times its size in all.
func overwriteTenTimes(dir string) error {
	const piece = 64 << 10
	path, size := filepath.Join(dir, "large"), agedBytes*8/10
	if err := writeFile(path, size, 1<<20, true); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	r, buf := rand.New(rand.NewPCG(5, 6)), noise(piece)
	for n := range 10 * agedBytes / piece {
		if _, err := f.WriteAt(buf, r.Int64N(int64(size/piece))*piece); err != nil {
			return err
		}
		if n%1024 == 1023 {
			if err := f.Sync(); err != nil {
				return err
			}
		}
	}
	return f.Sync()
}

// growth measures whether a volume slows down.
func (o options) growth(work string, rs *results) (err error) {
	var fresh, grown contender
	defer func() {
		for _, c := range []contender{fresh, grown} {
			if c != nil {
				err = errors.Join(err, c.close())
			}
		}
	}()
	size := ""
	for i, s := range stages {
		if !o.wantedStage(s) {
			continue
		}
		if grown == nil || s.size != size {
			for _, c := range []*contender{&fresh, &grown} {
				if *c != nil {
					err := (*c).close()
					*c = nil
					if err != nil {
						return err
					}
				}
			}
			if fresh, err = newCoffer(filepath.Join(work, fmt.Sprintf("fresh%d", i)), s.size); err != nil {
				return err
			}
			if grown, err = newCoffer(filepath.Join(work, fmt.Sprintf("grown%d", i)), s.size); err != nil {
				return err
			}
			size = s.size
		}
		fmt.Fprintf(os.Stderr, "%s...\n", s.name)
		if err := s.grow(grown.dir()); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := o.probe(fresh, grown, s, rs); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		rs.memory("coffer", grown.peak())
	}
	return nil
}

func (o options) wantedStage(s stage) bool {
	for _, p := range probes {
		if o.wanted(p.name + ", " + s.name) {
			return true
		}
	}
	return false
}

func (o options) probe(fresh, grown contender, s stage, rs *results) error {
	unix.Sync()
	for _, p := range probes {
		name := p.name + ", " + s.name
		if !o.wanted(name) {
			continue
		}
		rs.begin(name, p.unit)
		for round := range o.rounds {
			if err := o.stop.Err(); err != nil {
				return err
			}
			for i := range 2 {
				who, c := "coffer", grown
				if (i+round)%2 == 1 {
					who, c = "fresh", fresh
				}
				v, err := measure(c, p)
				if err != nil {
					return err
				}
				rs.add(name, who, v)
				fmt.Fprintf(os.Stderr, "round %d: %-64s %-8s %10.1f %s\n", round+1, name, who, v, p.unit)
			}
		}
	}
	return nil
}

// Command bench measures mounted filesystems side by side: this one, gocryptfs
// if it is installed, and the plain directory below, all on one disk and in
// turn, so that a noisy machine is noisy for everybody. It prints medians and
// ratios, and writes bench-out/bench.json.
//
// It is run by make bench, as root: cold reads need the page cache dropped.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// result is one number of one contender, by round.
type result struct {
	Workload  string    `json:"workload"`
	Unit      string    `json:"unit"` // more is better
	Contender string    `json:"contender"`
	Rounds    []float64 `json:"rounds"`
}

func (r result) median() float64 {
	s := slices.Sorted(slices.Values(r.Rounds))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func main() {
	rounds := flag.Int("rounds", 3, "rounds; the medians are shown")
	dir := flag.String("dir", "", "directory on the disk to measure; default a temporary one")
	only := flag.String("only", "", "run only workloads whose names contain this")
	flag.Parse()
	if err := run(*rounds, *dir, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(rounds int, dir, only string) (err error) {
	work, err := os.MkdirTemp(dir, "coffer-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	contenders, err := newContenders(work)
	if err != nil {
		return err
	}
	defer func() {
		for _, c := range contenders {
			err = errors.Join(err, c.close())
		}
	}()
	results := map[string]*result{}
	for round := range rounds {
		for _, w := range workloads {
			if !strings.Contains(w.name, only) {
				continue
			}
			for i := range contenders {
				c := contenders[(i+round)%len(contenders)] // nobody is always first
				v, err := measure(c, w)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", w.name, c.name(), err)
				}
				key := w.name + "/" + c.name()
				if results[key] == nil {
					results[key] = &result{Workload: w.name, Unit: w.unit, Contender: c.name()}
				}
				results[key].Rounds = append(results[key].Rounds, v)
				fmt.Fprintf(os.Stderr, "round %d: %-32s %-10s %10.1f %s\n", round+1, w.name, c.name(), v, w.unit)
			}
		}
	}
	print(contenders, results, only)
	return save(results)
}

// measure runs one workload in a directory of its own.
func measure(c contender, w workload) (float64, error) {
	dir := filepath.Join(c.dir(), "w")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	if w.prepare != nil {
		if err := w.prepare(dir); err != nil {
			return 0, err
		}
	}
	if w.cold {
		if err := cool(c); err != nil {
			return 0, err
		}
	} else {
		syncAll()
	}
	begun := time.Now()
	amount, err := w.run(dir)
	took := time.Since(begun)
	if err == nil {
		err = os.RemoveAll(dir)
	}
	syncAll()
	return amount / took.Seconds(), err
}

// print shows a table of medians, and how many times faster coffer is.
func print(cs []contender, results map[string]*result, only string) {
	fmt.Printf("\n%d cores, %s\n\n| workload | unit |", runtime.NumCPU(), runtime.Version())
	for _, c := range cs {
		fmt.Printf(" %s |", c.name())
	}
	for _, c := range cs[1:] {
		fmt.Printf(" over %s |", c.name())
	}
	fmt.Printf("\n|---|---|%s\n", strings.Repeat("---|", 2*len(cs)-1))
	for _, w := range workloads {
		if !strings.Contains(w.name, only) {
			continue
		}
		fmt.Printf("| %s | %s |", w.name, w.unit)
		ours := results[w.name+"/"+cs[0].name()].median()
		for _, c := range cs {
			fmt.Printf(" %.1f |", results[w.name+"/"+c.name()].median())
		}
		for _, c := range cs[1:] {
			fmt.Printf(" %.2f |", ours/results[w.name+"/"+c.name()].median())
		}
		fmt.Println()
	}
}

func save(results map[string]*result) error {
	var all []*result
	for _, r := range results {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *result) int { return strings.Compare(a.Workload+a.Contender, b.Workload+b.Contender) })
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll("bench-out", 0o755); err != nil {
		return err
	}
	return os.WriteFile("bench-out/bench.json", append(b, '\n'), 0o644)
}

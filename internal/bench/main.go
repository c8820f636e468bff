// Command bench measures mounted filesystems side by side: this one, gocryptfs,
// securefs and cryfs if they are installed, and the plain directory below, all on
// one disk and in turn, so that a noisy machine is noisy for everybody. It prints
// medians and ratios, and writes bench-out/bench.json.
//
// It also measures the library without a mount beside its two limits, and whether
// a volume slows down as it fills and ages.
//
// It is run by make bench, as root: cold reads need the page cache dropped.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// options are the flags.
type options struct {
	rounds     int
	slowRounds int // of securefs and cryfs
	dir        string
	only       *regexp.Regexp
	contenders []string
	parts      []string
	add        bool
	list       bool
	stop       context.Context // ends at a signal: mounts are then cleared away
}

func main() {
	var o options
	var only, contenders, parts string
	flag.IntVar(&o.rounds, "rounds", 5, "rounds; the medians are shown")
	flag.IntVar(&o.slowRounds, "slow-rounds", 5, "at most so many rounds of securefs and cryfs, which take most of the time")
	flag.StringVar(&o.dir, "dir", "", "directory on the disk to measure; default a temporary one")
	flag.StringVar(&only, "only", "", "run only workloads whose names match this regular expression")
	flag.StringVar(&contenders, "contenders", "coffer,"+noACL+",gocryptfs,securefs,cryfs,plain", "who is measured")
	flag.StringVar(&parts, "parts", "mounts,library,growth", "which parts are run")
	flag.BoolVar(&o.add, "add", false, "keep what bench-out/bench.json has of other workloads")
	flag.BoolVar(&o.list, "list", false, "name the workloads and end")
	flag.Parse()
	o.only = regexp.MustCompile(only)
	o.contenders, o.parts = strings.Split(contenders, ","), strings.Split(parts, ",")
	var forget context.CancelFunc
	o.stop, forget = signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer forget()
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// others may fail at a workload without an end to the run.
var others = []string{"gocryptfs", "securefs", "cryfs"}

// takesPart reports whether a contender is measured in a round of a workload.
func (o options) takesPart(c contender, w workload, round int) bool {
	switch c.name() {
	case "securefs", "cryfs":
		return round < o.slowRounds
	case noACL:
		return w.lists
	}
	return true
}

// wanted reports whether a workload is to be run.
func (o options) wanted(name string) bool { return o.only.MatchString(name) }

func (o options) run() error {
	if o.list {
		for _, name := range allNames() {
			fmt.Println(name)
		}
		return nil
	}
	work, err := os.MkdirTemp(o.dir, "coffer-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil { // the databases run as another user
		return err
	}
	rs, err := loadResults(o.add)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		run  func(work string, rs *results) error
	}{{"mounts", o.mounts}, {"library", o.library}, {"growth", o.growth}} {
		if !slices.Contains(o.parts, part.name) {
			continue
		}
		if err := part.run(work, rs); err != nil {
			return errors.Join(err, rs.save())
		}
		if err := rs.save(); err != nil {
			return err
		}
	}
	rs.print(os.Stdout)
	return nil
}

// mounts runs the workloads on all contenders.
func (o options) mounts(work string, rs *results) (err error) {
	var due []workload
	for _, w := range workloads {
		if o.wanted(w.name) {
			due = append(due, w)
		}
	}
	if len(due) == 0 {
		return nil
	}
	cs, err := newContenders(work, o.contenders)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(cs)) }()
	for _, w := range due {
		rs.begin(w.name, w.unit)
	}
	for round := range o.rounds {
		if err := rs.save(); err != nil {
			return err
		}
		for _, w := range due {
			for i := range cs {
				c := cs[(i+round)%len(cs)] // nobody is always first
				if !o.takesPart(c, w, round) {
					continue
				}
				if err := o.stop.Err(); err != nil {
					return err
				}
				v, err := measure(c, w)
				if err != nil && o.stop.Err() == nil && slices.Contains(others, c.name()) {
					fmt.Fprintf(os.Stderr, "%s on %s is not measured: %v\n", w.name, c.name(), err)
					continue
				}
				if err != nil {
					return fmt.Errorf("%s on %s: %w", w.name, c.name(), err)
				}
				rs.add(w.name, c.name(), v)
				fmt.Fprintf(os.Stderr, "round %d: %-42s %-10s %10.1f %s\n", round+1, w.name, c.name(), v, w.unit)
			}
		}
		if err := clearShared(cs, due); err != nil {
			return err
		}
	}
	for _, c := range cs {
		if n := c.peak(); n > 0 {
			rs.memory(c.name(), n)
		}
	}
	return nil
}

// measure runs one workload in a directory of its own, or in one that is shared.
func measure(c contender, w workload) (float64, error) {
	dir := filepath.Join(c.dir(), cmp.Or(w.shared, "w"))
	err := os.Mkdir(dir, 0o755)
	left := w.shared != "" && errors.Is(err, fs.ErrExist)
	if err != nil && !left {
		return 0, err
	}
	if w.prepare != nil && !left {
		if err := w.prepare(dir); err != nil {
			return 0, errors.Join(err, os.RemoveAll(dir))
		}
	}
	if w.cold {
		if err := cool(c); err != nil {
			return 0, err
		}
	} else {
		unix.Sync()
	}
	begun := time.Now()
	amount, err := w.run(dir)
	took := time.Since(begun)
	if w.finish != nil {
		err = errors.Join(err, w.finish(dir))
	}
	if w.shared == "" {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	unix.Sync()
	return amount / took.Seconds(), err
}

// clearShared ends a round.
func clearShared(cs []contender, due []workload) (err error) {
	for _, c := range cs {
		for _, w := range due {
			if w.shared != "" {
				err = errors.Join(err, os.RemoveAll(filepath.Join(c.dir(), w.shared)))
			}
		}
	}
	return err
}

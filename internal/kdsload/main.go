// Command kdsload says how many keys a second a KDS node gives: a real node in a
// process of its own, over loopback, with its audit log on the disk.
//
//	go run ./internal/kdsload -kds bin/coffer-kds
//
// Askers make their requests before the clock runs, since an asker's share of the
// work (a key pair, a quote, opening the answer) is done on its own machine; each
// request is sent many times. Some of the answers are opened and compared.
//
// With -evidence sim the node is coffer-kds as it is. With quote (collateral beside the
// quote) and ego (the quote alone, collateral from a PCCS that the node asked once) it
// is the same server in this program, because coffer-kds trusts Intel's root and no
// other, and the machine here is made up.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	kds      string
	evidence string
	clients  int
	requests int
	duration time.Duration
	total    int
	node     string
}

func main() {
	var o options
	flag.StringVar(&o.kds, "kds", "bin/coffer-kds", "the node's program")
	flag.StringVar(&o.evidence, "evidence", "sim", "of the askers: sim, quote or ego")
	flag.IntVar(&o.clients, "clients", 48, "connections")
	flag.IntVar(&o.requests, "requests", 64, "different requests")
	flag.DurationVar(&o.duration, "for", 15*time.Second, "how long each part takes")
	flag.IntVar(&o.total, "total", 0, "instead of that: so many requests, with the node's memory in between")
	flag.StringVar(&o.node, "node", "", "run a node of this kind in that directory; used by kdsload itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := o.run
	if o.node != "" {
		run = o.runNode
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "kdsload:", err)
		os.Exit(1)
	}
}

// run starts a node and loads it: as fast as it can, and then at half of that.
func (o options) run(ctx context.Context) error {
	n, err := o.start(ctx)
	if err != nil {
		return err
	}
	defer n.stop()
	requests, err := o.prepare(n)
	if err != nil {
		return fmt.Errorf("make requests: %w", err)
	}
	l := &load{url: n.url, requests: requests, clients: o.clients}
	if _, err := l.run(ctx, 2*time.Second, 0, 0); err != nil { // caches, and the log's first pages
		return err
	}
	if o.total > 0 {
		return o.memory(ctx, n, l)
	}
	before := n.cpu()
	full, err := l.run(ctx, o.duration, 0, 0)
	if err != nil {
		return err
	}
	cpu := n.cpu() - before
	fmt.Printf("%s: %.0f keys a second with %d connections; p50 %s, p99 %s\n", o.evidence, full.rate(), o.clients, full.at(0.5), full.at(0.99))
	fmt.Printf("%s: %s of processor a key, in the node\n", o.evidence, (cpu / time.Duration(len(full.took))).Round(time.Microsecond))
	half, err := l.run(ctx, o.duration, 0, full.rate()/2)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %.0f keys a second, half of that: p50 %s, p99 %s, longest %s\n", o.evidence, half.rate(), half.at(0.5), half.at(0.99), half.at(1))
	fmt.Printf("%s: node had at most %d MiB resident\n", o.evidence, n.memory("VmHWM"))
	return nil
}

// memory sends many requests, looks at what the node has resident after each
// hundredth, and says after each tenth what it saw.
func (o options) memory(ctx context.Context, n *process, l *load) error {
	fmt.Printf("%s: node has %d MiB resident\n", o.evidence, n.memory("VmRSS"))
	for done, tenth := 0, 1; done < o.total; tenth++ {
		var seen []int
		begun, before := time.Now(), done
		for end := tenth * o.total / 10; done < end; {
			r, err := l.run(ctx, 0, min(max(o.total/100, 1), end-done), 0)
			if err != nil {
				return err
			}
			done += len(r.took)
			seen = append(seen, n.memory("VmRSS"))
		}
		if len(seen) == 0 {
			continue // fewer than ten in all
		}
		fmt.Printf("%s: up to %d requests %d to %d MiB, now %d; at most %d MiB; %.0f a second\n", o.evidence, done, slices.Min(seen), slices.Max(seen),
			seen[len(seen)-1], n.memory("VmHWM"), float64(done-before)/time.Since(begun).Seconds())
	}
	return nil
}

// result is what one run gave.
type result struct {
	took []time.Duration // of each request, from when it was due
	in   time.Duration
}

func (r result) rate() float64 { return float64(len(r.took)) / r.in.Seconds() }

// at is a quantile; 1 is the longest.
func (r result) at(q float64) time.Duration {
	slices.Sort(r.took)
	i := min(int(q*float64(len(r.took))), len(r.took)-1)
	return r.took[i].Round(10 * time.Microsecond)
}

var errAnswer = errors.New("the node did not give the key")

package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/coffer-fs/coffer"
)

const (
	// threadsBeside is how many more threads may run Go code than there are cores,
	// once FUSE has chosen how many threads it reads requests with. They spend their
	// time waiting for the kernel, and without it the runtime takes their turns away
	// from them after 20 us, again and again, and gives them back with every request.
	threadsBeside = 4
	// mountMemory is from how many bytes on the garbage of a mount is collected more
	// eagerly than usual, beside what a filesystem in memory holds. What is in use has
	// limits of its own.
	mountMemory = 192 << 20
)

// tune fits the runtime to a process that serves a mount of v, until stop.
func tune(v *coffer.Volume) (stop func()) {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + threadsBeside)
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	debug.SetMemoryLimit(mountMemory + v.MemoryBytes())
	var wg sync.WaitGroup
	wg.Go(func() { followMemory(ctx, v) })
	return func() { cancel(); wg.Wait() }
}

// followMemory lets the limit grow with what is in memory by the user's will.
func followMemory(ctx context.Context, v *coffer.Volume) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			debug.SetMemoryLimit(mountMemory + v.MemoryBytes())
		}
	}
}

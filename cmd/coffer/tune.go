package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

const (
	// threadsBeside is how many more threads may run Go code than there are cores,
	// once FUSE has chosen how many threads it reads requests with. They spend their
	// time waiting for the kernel, and without it the runtime takes their turns away
	// from them after 20 us, again and again, and gives them back with every request.
	threadsBeside = 4
	// mountMemory is from how many bytes on the garbage of a mount is collected more
	// eagerly than usual. What is in use has limits of its own.
	mountMemory = 192 << 20
)

// tune fits the runtime to a process that serves a mount.
func tune() {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + threadsBeside)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(mountMemory)
	}
}

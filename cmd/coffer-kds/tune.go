package main

import (
	"os"
	"runtime/debug"
)

const (
	// garbagePercent is how much garbage a node lets lie, in percent of what it uses:
	// it uses a few MiB, and by the runtime's own measure would look through them
	// several times a second under load.
	garbagePercent = 400
	// garbageLimit is from how many bytes on garbage is collected as eagerly as need
	// be. An enclave's heap is larger: heapSize of enclave.json.
	garbageLimit = 192 << 20
)

// tune fits the runtime to a node. The user's own settings win.
func tune() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(garbageLimit)
	}
}

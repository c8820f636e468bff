// Command coffer makes, mounts, inspects and migrates encrypted volumes.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run is main with an exit code, for the tests.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return report(os.Stderr, newRoot().ExecuteContext(ctx))
}

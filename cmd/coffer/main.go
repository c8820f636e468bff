// Command coffer makes, mounts, inspects and migrates encrypted volumes.
//
// Results go to standard output, and what went wrong to standard error: a line
// "coffer: error: ...", then perhaps a line "coffer: hint: ..." that says what to
// do. Exit codes are a table in exitcodes.go, and which error has which is one in
// classes.go. Secrets are never in flags or in the environment.
//
// The tool runs as an enclave: the one that the flags --config, --sim-cpu and
// --enclave describe. What it can do with a volume is therefore what that enclave
// can do; info needs no key.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(report(os.Stderr, run())) }

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return newRoot().ExecuteContext(ctx)
}

// Command coffer-kds is a node of the Key Derivation Service.
//
// Results go to standard output, and what went wrong to standard error: a line
// "coffer-kds: error: ...", then perhaps a line "coffer-kds: hint: ..." that says
// what to do. Exit codes are a table in exitcodes.go. Secrets are never in flags
// or in the environment.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	return report(os.Stderr, root.ExecuteContext(ctx))
}

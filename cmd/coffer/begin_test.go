package main

import (
	"context"
	"errors"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/migrate"
)

// begin VOLUME FLAGS: coffer migrate with these flags, stopped in the middle.
func begin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: begin VOLUME FLAGS")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &cobra.Command{}
	c.SetContext(ctx)
	var f enclaveFlags
	f.register(c)
	to := c.Flags().String("to", "", "")
	ts.Check(c.ParseFlags(args[1:]))
	for _, path := range []*string{&f.config, &f.enclave, &f.simCPU, to} {
		*path = ts.MkAbs(*path)
	}
	from, err := oldConfig(f.config)
	ts.Check(err)
	f.config = *to
	o, closeHost, err := f.options(c, ts.MkAbs(args[0]))
	ts.Check(err)
	defer closeHost()
	s, err := coffer.NewSecret(ctx, o)
	ts.Check(err)
	old := o
	old.Config = from
	_, err = migrate.Run(ctx, migrate.Options{Host: o.Volume, Old: coffer.Unlocker(old), New: s, Progress: func(p migrate.Progress) {
		if p.DoneBytes > 0 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		ts.Fatalf("it was not stopped: %v", err)
	}
}

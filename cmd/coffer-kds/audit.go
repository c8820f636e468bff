package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds/audit"
)

func newAudit() *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Read the audit log", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:   "verify FILE",
		Short: "Check that no line of an audit log was changed, removed or moved",
		Long: `verify reads the whole log and checks the chain of its lines. It needs no key, and
the node may be running. Lines cut off the end are not found by the log alone:
compare the number of lines and the chain value with those you kept.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: verifyAudit,
	})
	return c
}

func verifyAudit(c *cobra.Command, args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return &failure{exitAudit, err, ""}
	}
	defer f.Close()
	released, refused := 0, 0
	s, err := audit.Verify(f, func(e audit.Entry) error {
		switch e.Event {
		case audit.Released:
			released++
		case audit.Refused:
			refused++
		}
		return nil
	})
	if err != nil {
		hint := ""
		if errors.Is(err, audit.ErrDamaged) {
			hint = "the lines before it are whole; compare with a copy that was kept elsewhere"
		}
		return &failure{exitAudit, fmt.Errorf("%s: %w", args[0], err), hint}
	}
	fmt.Fprintf(c.OutOrStdout(), "lines %d\nreleased %d\nrefused %d\nchain %s\nunfinished bytes %d\n", s.Lines, released, refused, s.Chain, s.Torn)
	return nil
}

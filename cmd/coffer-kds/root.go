package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "coffer-kds",
		Short:         "A node of coffer's Key Derivation Service",
		Long:          "coffer-kds gives keys to enclaves whose evidence meets the policy of the key they ask for.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &failure{exitUsage, err, fmt.Sprintf("see %q", c.CommandPath()+" --help")}
	})
	root.AddCommand(newServe(), newStatus(), newInit(), newRotate(), newRetire(), newForget(), newRecover(), newAudit(), newEvidence(), newPolicy(), newOrders(), newVersion(),
		newCustodian())
	return root
}

// usage makes a wrong number of arguments a usage error.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return &failure{exitUsage, err, fmt.Sprintf("see %q", c.CommandPath()+" --help")}
		}
		return nil
	}
}

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "coffer",
		Short: "Encrypted, persistent filesystems for enclaves",
		Long: `coffer makes, mounts, inspects and migrates encrypted volumes.

A volume is a directory of sealed files, or s3://BUCKET/PREFIX in an object store,
reached directly or through a host process (coffer host serve). Whoever holds it learns neither names
nor sizes nor contents, and can change no byte unnoticed. Its key comes from a
Key Derivation Service, which gives it to enclaves that satisfy the key spec in
the measured configuration (--config).`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError(fmt.Sprintf("see %q", c.CommandPath()+" --help"), "%w", err)
	})
	root.AddCommand(newInit(), newMount(), newUmount(), newInfo(), newLs(), newStat(), newCat(), newPut(),
		newGet(), newRm(), newMkdir(), newCheck(), newSnapshot(), newResize(), newScrub(), newRecover(), newSalvage(), newAnchor(), newMigrate(), newCopy(), newHandover(), newTicket(), newIdentity(), newHost(), newSend(), newReceive(), newPull(), newVerifyTransfer(), newPoint(),
		newMail(), newVersion())
	return root
}

// args makes a wrong number of arguments a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, a []string) error {
		if err := check(c, a); err != nil {
			return usageError(fmt.Sprintf("see %q", c.CommandPath()+" --help"), "%w", err)
		}
		return nil
	}
}

package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/store/seal"
)

// version is set when a release is built, with -ldflags "-X main.version=...".
var version = ""

// versionResult is which program this is.
type versionResult struct {
	Version string `json:"version"`
	Format  int    `json:"format"`
	Go      string `json:"go"`
	System  string `json:"system"`
}

func newVersion() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Show the version, and the format it writes",
		Args:  args(cobra.NoArgs),
		RunE: func(c *cobra.Command, a []string) error {
			r := versionResult{buildVersion(), seal.FormatVersion, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "coffer %s, format %d, %s %s\n", r.Version, r.Format, r.Go, r.System)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// buildVersion is the version of a release, or else what the build knows.
func buildVersion() string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "development"
}

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/migrate"
)

// migrateResult is what a migration did.
type migrateResult struct {
	Found   string  `json:"found"` // how the volume stood before
	Rewrap  bool    `json:"rewrap"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

func newMigrate() *cobra.Command {
	var f enclaveFlags
	var to string
	var rewrap, asJSON bool
	c := &cobra.Command{
		Use:   "migrate VOLUME [--config OLD] --to NEW",
		Short: "Re-encrypt a volume from an old key spec to a new one",
		Long: `migrate brings a volume from the key that the configuration OLD names to the
key that NEW names. It is run by the new enclave: NEW is what is measured with
it, and it must satisfy both specs.

A volume that the old enclave handed over needs no --config: see coffer handover.

It can be stopped at any moment and run again. At the end the old key opens
nothing of the volume any more. With --rewrap only the key slot is replaced: it
takes no time, and whoever has the old key and an older copy can still read.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			r, err := runMigrate(c, f, to, a[0], rewrap)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			return r.print(c)
		},
	}
	f.register(c)
	c.Flags().StringVar(&to, "to", "", "configuration that names the new key (required)")
	c.Flags().BoolVar(&rewrap, "rewrap", false, "replace the key slot only")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func runMigrate(c *cobra.Command, f enclaveFlags, to, volume string, rewrap bool) (migrateResult, error) {
	r := migrateResult{Rewrap: rewrap}
	switch {
	case to == "":
		return r, usageError("name the configuration that it shall be sealed with: COMMAND --to FILE", "--to is required")
	}
	from := f.config
	if f.config = to; from == "" && rewrap {
		return r, usageError("name the configuration that the volume is sealed with: COMMAND --config FILE", "--config is required")
	}
	o, closeHost, err := f.options(c, volume)
	if err != nil {
		return r, err
	}
	defer closeHost()
	if from == "" {
		return migrateHandedOver(c, o, volume)
	}
	old := o
	if old.Config, err = oldConfig(from); err != nil {
		return r, err
	}
	s, err := coffer.NewSecret(c.Context(), o)
	if err != nil {
		return r, volumeError(volume, err)
	}
	defer s.Key.Destroy()
	anchor, every, err := coffer.MigrationAnchor(old, o)
	if err != nil {
		return r, volumeError(volume, err)
	}
	mo := migrate.Options{
		Host: o.Volume, Old: coffer.Unlocker(old), New: s, Rewrap: rewrap, Takeover: o.Takeover, Owner: o.Owner, Logger: o.Logger,
	}
	if anchor != nil {
		defer anchor.Close()
		mo.Anchor, mo.AnchorEvery = anchor, every
	}
	bar := newBar(c.ErrOrStderr(), "migrate", 0)
	defer bar.finish()
	mo.Progress = bar.progress
	sum, err := migrate.Run(c.Context(), mo)
	r.Found, r.Bytes, r.Seconds = sum.Found.String(), sum.Bytes, sum.Took.Seconds()
	return r, volumeError(volume, err)
}

func oldConfig(path string) (*config.Config, error) {
	cfg, _, err := config.Load(path)
	if err != nil {
		return nil, &failure{exitConfig, err, "--config names the configuration that the volume is sealed with"}
	}
	return cfg, nil
}

func (r migrateResult) print(c *cobra.Command) error {
	w := c.OutOrStdout()
	switch {
	case r.Found == migrate.Finished.String():
		_, err := fmt.Fprintln(w, "nothing to do: the volume is under the new key")
		return err
	case r.Rewrap:
		_, err := fmt.Fprintln(w, "the new key opens the volume; whoever has the old key and an older copy can still read")
		return err
	}
	_, err := fmt.Fprintf(w, "sealed %s under the new key in %.1f s; the old key opens nothing of it\n", bytesText(r.Bytes), r.Seconds)
	return err
}

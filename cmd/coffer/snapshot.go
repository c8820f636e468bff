package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/config"
)

func newSnapshot() *cobra.Command {
	c := &cobra.Command{
		Use:   "snapshot",
		Short: "Keep states of a volume, and read, clone or delete them",
		Long: `A snapshot keeps the state of a volume under a name. Taking one takes no longer
for a large volume than for a small one; from then on what is changed or removed
goes on taking room, until the snapshot is deleted.

ls, stat, cat, get, check and mount read a snapshot with --snapshot NAME. These
commands work on a volume that is mounted too, by its user or by root: the one
that mounted it is asked, and no --config is needed.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSnapshotCreate(), newSnapshotList(), newSnapshotShow(), newSnapshotDelete(), newSnapshotClone())
	return c
}

func newSnapshotCreate() *cobra.Command {
	var f enclaveFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "create VOLUME NAME",
		Short: "Keep the present state of a volume",
		Args:  args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			r, err := ask(c, &f, a[0], pathSnapshotCreate, nameRequest{a[1]}, false, volumeService.create)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "made snapshot %s, %s in use\n", r.Name, bytesText(r.Bytes))
			return err
		},
	}
	f.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newSnapshotList() *cobra.Command {
	var f enclaveFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "list VOLUME",
		Short: "List the snapshots of a volume, oldest first",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			list, err := ask(c, &f, a[0], pathSnapshotList, empty{}, true, volumeService.list)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), list)
			}
			p := &printer{w: c.OutOrStdout()}
			for _, r := range list {
				p.line("%s  %10s  %s", r.Time.Format("2006-01-02 15:04:05"), bytesText(r.Bytes), r.Name)
			}
			return p.err
		},
	}
	f.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newSnapshotShow() *cobra.Command {
	var f enclaveFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "show VOLUME NAME",
		Short: "Describe a snapshot, and what it holds on to",
		Long: `show describes a snapshot. What it holds is what was changed or removed between
it and the next newer one: deleting it gives so much back, but for what older
snapshots need too.`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			r, err := ask(c, &f, a[0], pathSnapshotShow, nameRequest{a[1]}, true, volumeService.show)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			p := &printer{w: c.OutOrStdout()}
			p.line("name    %s", r.Name)
			p.line("taken   %s", r.Time.Format("2006-01-02 15:04:05"))
			p.line("in use  %s when it was taken", bytesText(r.Bytes))
			p.line("holds   %s, %d items", bytesText(*r.Held), *r.Items)
			return p.err
		},
	}
	f.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newSnapshotDelete() *cobra.Command {
	var f enclaveFlags
	c := &cobra.Command{
		Use:   "delete VOLUME NAME...",
		Short: "Delete snapshots, and give back what they alone held on to",
		Long: `delete returns when the room is given back. It may be stopped: the snapshot is
deleted all the same, and the room given back when the volume is open next.`,
		Args: args(cobra.MinimumNArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			for _, name := range a[1:] {
				if _, err := ask(c, &f, a[0], pathSnapshotDelete, nameRequest{name}, false, volumeService.remove); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.register(c)
	return c
}

func newSnapshotClone() *cobra.Command {
	var f enclaveFlags
	c := &cobra.Command{
		Use:   "clone VOLUME NAME NEW",
		Short: "Make a new volume of a snapshot",
		Long: `clone makes the directory NEW and in it a volume that holds what the snapshot
NAME does, re-encrypted: it has an identity and keys of its own, is sealed for the
key that the configuration names, and has the size that it says.`,
		Args: args(cobra.ExactArgs(3)),
		RunE: func(c *cobra.Command, a []string) error {
			_, err := ask(c, &f, a[0], pathSnapshotClone, cloneRequest{a[1], abs(a[2])}, true, volumeService.clone)
			if err == nil {
				_, err = fmt.Fprintf(c.OutOrStdout(), "made %s of snapshot %s\n", a[2], a[1])
			}
			return err
		},
	}
	f.register(c)
	return c
}

func newResize() *cobra.Command {
	var f enclaveFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "resize VOLUME [SIZE]",
		Short: "Set the size limit of a volume",
		Long: `resize sets the size limit of a volume: to SIZE, with k, m, g or t for powers of
1024, at most what the configuration allows (persistentFileSystemSize); or, without
SIZE, to just that. A volume can't be made smaller than what is in it takes. It may
be mounted meanwhile.`,
		Args: args(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, a []string) error {
			var in resizeRequest
			if len(a) > 1 {
				var err error
				if in.Bytes, err = config.ParseSize(a[1]); err != nil || in.Bytes == 0 {
					return usageError("an example: coffer resize VOLUME 512m", "size %q: %w", a[1], config.ErrSize)
				}
			}
			r, err := ask(c, &f, a[0], pathResize, in, false, volumeService.resize)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "resized %s from %s to %s, %s in use\n", a[0], bytesText(r.Before), bytesText(r.Bytes), bytesText(r.Used))
			return err
		},
	}
	f.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

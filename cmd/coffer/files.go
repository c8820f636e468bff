package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
)

func newCat() *cobra.Command {
	var f enclaveFlags
	c := &cobra.Command{
		Use:   "cat VOLUME PATH...",
		Short: "Print files of a volume",
		Args:  args(cobra.MinimumNArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withVolume(c, a[0], true, func(ctx context.Context, v *coffer.Volume) error {
				for _, path := range a[1:] {
					if err := cat(ctx, c.OutOrStdout(), v, path); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f.register(c)
	f.registerSnapshot(c)
	return c
}

func cat(ctx context.Context, w io.Writer, v *coffer.Volume, path string) error {
	file, err := v.Open(path)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(w, &stopping{ctx, file}, make([]byte, copyBuffer))
	return errors.Join(err, file.Close())
}

func newRm() *cobra.Command {
	var f enclaveFlags
	var recursive bool
	c := &cobra.Command{
		Use:   "rm VOLUME PATH...",
		Short: "Remove files from a volume",
		Args:  args(cobra.MinimumNArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withVolume(c, a[0], false, func(_ context.Context, v *coffer.Volume) error {
				for _, path := range a[1:] {
					if err := remove(v, path, recursive); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f.register(c)
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "remove directories with all that is in them")
	return c
}

func remove(v *coffer.Volume, path string, recursive bool) error {
	if _, err := v.Lstat(path); err != nil {
		return err // RemoveAll would not mind
	}
	if recursive {
		return v.RemoveAll(path)
	}
	return v.Remove(path)
}

func newMkdir() *cobra.Command {
	var f enclaveFlags
	var parents bool
	c := &cobra.Command{
		Use:   "mkdir VOLUME PATH...",
		Short: "Make directories in a volume",
		Args:  args(cobra.MinimumNArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withVolume(c, a[0], false, func(_ context.Context, v *coffer.Volume) error {
				for _, path := range a[1:] {
					if err := mkdir(v, path, parents); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f.register(c)
	c.Flags().BoolVarP(&parents, "parents", "p", false, "make those above it that are missing, and mind none that is there")
	return c
}

// perm is that of new directories.
const perm fs.FileMode = 0o755

// mkdir makes a directory that belongs to the caller.
func mkdir(v *coffer.Volume, dir string, parents bool) error {
	if parents {
		if i, err := v.Stat(dir); err == nil && i.IsDir() {
			return nil
		}
		if up := path.Dir(path.Join("/", dir)); up != "/" {
			if err := mkdir(v, up, true); err != nil {
				return err
			}
		}
	}
	if err := v.Mkdir(dir, perm); err != nil {
		return err
	}
	return v.Chown(dir, os.Getuid(), os.Getgid())
}

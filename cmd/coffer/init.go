package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
)

func newInit() *cobra.Command {
	var f enclaveFlags
	c := &cobra.Command{
		Use:   "init VOLUME",
		Short: "Make a volume with an empty filesystem",
		Long: `init makes the directory VOLUME and in it a volume of the size that the
configuration says (persistentFileSystemSize), sealed with the key it names.
VOLUME may also be the address of one at a host process (see coffer host serve), or
s3://BUCKET/PREFIX, in an object store.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error { return initVolume(c, f, a[0]) },
	}
	f.register(c)
	return c
}

// initVolume asks for the key before it makes anything: a refusal leaves
// nothing behind.
func initVolume(c *cobra.Command, f enclaveFlags, volume string) error {
	o, err := f.enclaveOptions(c)
	if err != nil {
		return err
	}
	if o.Config.PersistentFileSystemSize == 0 {
		return fmt.Errorf("%s: %w", f.config, coffer.ErrNotConfigured)
	}
	if err := f.refuseExisting(c.Context(), volume); err != nil {
		return volumeError(volume, err)
	}
	s, err := coffer.NewSecret(c.Context(), o)
	if err != nil {
		return volumeError(volume, err)
	}
	defer s.Key.Destroy()
	err = f.makeVolume(c.Context(), volume, func(v host.Volume) error {
		o.Volume = v
		return coffer.CreateWith(c.Context(), o, s, uint32(os.Getuid()), uint32(os.Getgid()))
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "made %s, %s\n", volume, bytesText(o.Config.PersistentFileSystemSize))
	return err
}

// refuseExisting refuses a place where there is a volume, before a key is asked
// for. At a host process that is one with a header.
func (f hostFlags) refuseExisting(ctx context.Context, volume string) error {
	v, err := f.open(ctx, volume)
	if err != nil {
		if isURL(volume) && !errors.Is(err, host.ErrNotFound) {
			return err
		}
		return nil // making it says what is wrong
	}
	if isURL(volume) {
		_, _, err = store.ReadHeader(ctx, v)
	}
	if errors.Is(err, store.ErrNoVolume) {
		return v.Close()
	}
	return errors.Join(fmt.Errorf("there is one already: %w", host.ErrExists), v.Close())
}

// makeVolume makes the place for a volume and lets fill make the volume; a failure
// leaves nothing behind.
func (f hostFlags) makeVolume(ctx context.Context, volume string, fill func(host.Volume) error) error {
	if err := f.refuseExisting(ctx, volume); err != nil {
		return volumeError(volume, err)
	}
	undo, err := f.makePlace(ctx, volume)
	if err != nil {
		return volumeError(volume, err)
	}
	v, err := f.open(ctx, volume)
	if err == nil {
		err = errors.Join(fill(v), v.Close())
	}
	if err != nil {
		return volumeError(volume, errors.Join(err, undo()))
	}
	return nil
}

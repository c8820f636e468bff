package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

func newInit() *cobra.Command {
	var f enclaveFlags
	c := &cobra.Command{
		Use:   "init VOLUME",
		Short: "Make a volume with an empty filesystem",
		Long: `init makes the directory VOLUME and in it a volume of the size that the
configuration says (persistentFileSystemSize), sealed with the key it names.`,
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
	if err := noVolumeYet(volume); err != nil {
		return err
	}
	s, err := coffer.NewSecret(c.Context(), o)
	if err != nil {
		return volumeError(volume, err)
	}
	defer s.Key.Destroy()
	err = makeVolume(volume, func(v host.Volume) error {
		o.Volume = v
		return coffer.CreateWith(c.Context(), o, s, uint32(os.Getuid()), uint32(os.Getgid()))
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "made %s, %s\n", volume, bytesText(o.Config.PersistentFileSystemSize))
	return err
}

// noVolumeYet refuses a place where there is a volume.
func noVolumeYet(volume string) error {
	v, err := local.Open(volume)
	if err != nil {
		return nil // there is none: making it says what else is wrong
	}
	return volumeError(volume, errors.Join(fmt.Errorf("there is one already: %w", host.ErrExists), v.Close()))
}

// makeVolume makes the place for a volume and lets fill make the volume; a failure
// leaves nothing behind.
func makeVolume(volume string, fill func(host.Volume) error) error {
	if err := noVolumeYet(volume); err != nil {
		return err
	}
	_, statErr := os.Lstat(volume)
	if err := local.Create(volume); err != nil {
		return volumeError(volume, err)
	}
	v, err := local.Open(volume)
	if err == nil {
		err = errors.Join(fill(v), v.Close())
	}
	if err != nil {
		return volumeError(volume, errors.Join(err, clearVolume(volume, statErr == nil)))
	}
	return nil
}

// clearVolume removes what was made of a volume, but not a directory that was
// there before.
func clearVolume(volume string, keep bool) error {
	if !keep {
		return os.RemoveAll(volume)
	}
	es, err := os.ReadDir(volume)
	for _, e := range es {
		err = errors.Join(err, os.RemoveAll(filepath.Join(volume, e.Name())))
	}
	return err
}

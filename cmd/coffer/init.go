package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
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
	s, err := coffer.NewSecret(c.Context(), o)
	if err != nil {
		return volumeError(volume, err)
	}
	defer s.Key.Destroy()
	if o.Config.PersistentFileSystemSize == 0 {
		return coffer.ErrNotConfigured
	}
	if err := local.Create(volume); err != nil {
		return volumeError(volume, err)
	}
	v, err := local.Open(volume)
	if err != nil {
		return volumeError(volume, err)
	}
	o.Volume = v
	err = errors.Join(coffer.CreateWith(c.Context(), o, s, uint32(os.Getuid()), uint32(os.Getgid())), v.Close())
	if err != nil {
		return volumeError(volume, errors.Join(err, os.RemoveAll(volume)))
	}
	fmt.Fprintf(c.OutOrStdout(), "made %s, %s\n", volume, bytesText(o.Config.PersistentFileSystemSize))
	return nil
}

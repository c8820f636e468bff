package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newUmount() *cobra.Command {
	return &cobra.Command{
		Use:   "umount DIR",
		Short: "Unmount a volume, and wait until it is closed",
		Long: `umount unmounts a volume and waits until the process that served it has closed
it: only then everything is on the disk. It also clears away what a mount whose
process was killed left behind.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error { return umount(c.Context(), a[0]) },
	}
}

func umount(ctx context.Context, dir string) error {
	volume, err := mountedVolume(dir)
	if err != nil {
		return err
	}
	serving, err := holderOf(volume)
	if err != nil {
		return volumeError(volume, err)
	}
	err = unmount(abs(dir), false)
	if errors.Is(err, unix.EBUSY) {
		return &failure{exitMountBusy, fmt.Errorf("%q is in use", dir), "close what is open in it: fuser -m " + quote(dir) + " shows who that is"}
	}
	if err != nil || serving == nil {
		return err
	}
	return volumeError(volume, waitReleased(ctx, volume, *serving))
}

// unmount unmounts a directory: at once, or when nobody uses it any more. Who is
// not root needs fusermount3.
func unmount(dir string, lazy bool) error {
	flags, option := 0, "-u"
	if lazy {
		flags, option = unix.MNT_DETACH, "-uz"
	}
	err := unmountSoon(dir, flags)
	if errors.Is(err, unix.EPERM) {
		err = exec.Command("fusermount3", option, "--", dir).Run()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = unix.EBUSY // it is mounted, and may be unmounted by us
		}
	}
	if err != nil {
		return fmt.Errorf("unmount %q: %w", dir, err)
	}
	return nil
}

const (
	closeTimeout = 5 * time.Minute
	closePoll    = 10 * time.Millisecond
)

// waitReleased waits until a holder has let the volume go: only then all is on
// disk.
func waitReleased(ctx context.Context, volume string, serving holder) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	for {
		h, err := holderOf(volume)
		if err != nil || h == nil || *h != serving {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("unmounted, but process %d has not closed it: %w", serving.PID, ctx.Err())
		case <-time.After(closePoll):
		}
	}
}

const (
	busyFor  = time.Second
	busyPoll = 20 * time.Millisecond
)

// unmountSoon bears with a mount that is busy for a moment: a mount that has
// just begun has its own server at it, and a program that has just ended may not
// be quite gone.
func unmountSoon(dir string, flags int) error {
	for end := time.Now().Add(busyFor); ; time.Sleep(busyPoll) {
		err := unix.Unmount(dir, flags)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
	}
}

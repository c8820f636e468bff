package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/s3"
)

func newUmount() *cobra.Command {
	var f hostFlags
	c := &cobra.Command{
		Use:   "umount DIR",
		Short: "Unmount a volume, and wait until it is closed",
		Long: `umount unmounts a volume and waits until the process that served it has closed
it: only then everything is on the disk. It also clears away what a mount whose
process was killed left behind.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error { return f.umount(c.Context(), a[0]) },
	}
	f.register(c)
	return c
}

func (f hostFlags) umount(ctx context.Context, dir string) error {
	volume, err := mountedVolume(dir)
	if err != nil {
		return err
	}
	var serving *holder
	var holderErr error
	if volume != "" { // in memory there is nothing to wait for
		serving, holderErr = f.holder(ctx, volume)
	}
	if s3.IsURL(volume) && disconnected(dir) { // who served it is gone, which no object store knows
		serving, holderErr = nil, nil
	}
	if holderErr != nil && !errors.Is(holderErr, remote.ErrUnreachable) && !errors.Is(holderErr, s3.ErrUnreachable) {
		return volumeError(volume, holderErr)
	}
	err = unmount(abs(dir), false)
	if errors.Is(err, unix.EBUSY) {
		return &failure{exitMountBusy, fmt.Errorf("%q is in use", dir), "close what is open in it: fuser -m " + quote(dir) + " shows who that is"}
	}
	if err != nil {
		return err
	}
	if holderErr != nil { // so nobody can say whether all is on the disk
		return volumeError(volume, fmt.Errorf("unmounted, but perhaps not closed: %w", holderErr))
	}
	if serving == nil {
		return nil
	}
	return volumeError(volume, f.waitReleased(ctx, volume, *serving))
}

// disconnected reports whether nobody serves a mount any more.
func disconnected(dir string) bool {
	var st unix.Statfs_t // what a stat asks for may be cached
	return errors.Is(unix.Statfs(dir, &st), unix.ENOTCONN)
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
func (f hostFlags) waitReleased(ctx context.Context, volume string, serving holder) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	poll := closePoll
	if s3.IsURL(volume) {
		poll = s3Poll
	}
	for {
		h, err := f.holder(ctx, volume)
		if err != nil || h == nil || *h != serving {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("unmounted, but %v has not closed it: %w", serving, ctx.Err())
		case <-time.After(poll):
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

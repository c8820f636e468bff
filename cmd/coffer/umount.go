package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

func newUmount() *cobra.Command {
	c := &cobra.Command{
		Use:   "umount DIR",
		Short: "Unmount a volume, and wait until it is closed",
		Args:  args(cobra.ExactArgs(1)),
		RunE:  func(c *cobra.Command, a []string) error { return umount(c.Context(), abs(a[0])) },
	}
	return c
}

// umount also clears away what a mount whose process died left behind.
func umount(ctx context.Context, dir string) error {
	volume, err := mountedVolume(dir)
	if err != nil {
		return err
	}
	err = unix.Unmount(dir, 0)
	if errors.Is(err, unix.EBUSY) {
		return &failure{exitMountBusy, fmt.Errorf("unmount %q: %w", dir, err), "close what is open in it; fuser -m shows who that is"}
	}
	if err != nil {
		return fmt.Errorf("unmount %q: %w", dir, err)
	}
	return volumeError(volume, waitClosed(ctx, volume))
}

// mountedVolume finds the volume that is mounted on dir.
func mountedVolume(dir string) (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	volume := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// 36 35 0:30 / /mnt rw - fuse.coffer coffer:/path rw,...
		before, after, ok := strings.Cut(lines.Text(), " - ")
		mounted, source := strings.Fields(before), strings.Fields(after)
		if !ok || len(mounted) < 5 || len(source) < 2 || unescape(mounted[4]) != dir {
			continue
		}
		if v, ok := strings.CutPrefix(unescape(source[1]), "coffer:"); ok {
			volume = v
		}
	}
	if volume == "" {
		return "", &failure{exitMountPoint, fmt.Errorf("no volume is mounted on %q", dir), ""}
	}
	return volume, nil
}

// unescape undoes what the kernel does to white space in mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

const (
	closeTimeout = 5 * time.Minute
	closePoll    = 10 * time.Millisecond
)

// waitClosed waits until the process that served the mount has let the volume
// go: only then all is on disk.
func waitClosed(ctx context.Context, volume string) error {
	v, err := local.Open(volume)
	if err != nil {
		return err
	}
	defer v.Close()
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	for {
		w, err := v.Acquire(ctx, host.AcquireOptions{Owner: "coffer umount"})
		if err == nil {
			return w.Release(ctx)
		}
		if !errors.Is(err, host.ErrInUse) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(closePoll):
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/control"
	"github.com/coffer-fs/coffer/fs/mount"
	"github.com/coffer-fs/coffer/kds/attest"
)

type mountFlags struct {
	enclaveFlags
	foreground, readOnly, allowOther, noACL, debug bool
	logFile, metrics                               string
	readyFD                                        int   // see background
	given                                          []int // see detach
}

func newMount() *cobra.Command {
	var f mountFlags
	c := &cobra.Command{
		Use:   "mount [VOLUME] DIR",
		Short: "Mount a volume, for debugging and simulation",
		Long: `mount shows the filesystem of a volume on the directory DIR, until it is
unmounted, as the enclave sees it: with the filesystem in memory at /tmp, if the
configuration has one (inMemoryFileSystemSize). With --read-only or --snapshot
/tmp is as the volume has it. If the configuration has no persistent filesystem,
VOLUME is left out, and what is in memory is all.

The kernel of this machine then sees what is in it: mount is for debugging and
for simulated enclaves, and refused in release mode.

It goes to the background when the filesystem is mounted; what is logged after
that goes to --log-file. With --foreground it stays, and prints a line when it
is mounted. SIGTERM and SIGINT unmount; if the mount is in use, it ends when it
no longer is, or at the second signal.`,
		Args: args(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, a []string) error {
			volume, dir := "", a[len(a)-1]
			if len(a) == 2 {
				volume = a[0]
			}
			if f.foreground {
				return f.serve(c, volume, dir)
			}
			return background(c.Context(), dir)
		},
	}
	f.register(c)
	f.registerSnapshot(c)
	c.Flags().BoolVar(&f.foreground, "foreground", false, "stay, and unmount at SIGTERM or SIGINT")
	c.Flags().BoolVar(&f.readOnly, "read-only", false, "mount read-only")
	c.Flags().BoolVar(&f.allowOther, "allow-other", false, "let other users use it too")
	c.Flags().BoolVar(&f.noACL, "no-acl", false, "neither show nor obey access control lists: listing is faster")
	c.Flags().BoolVar(&f.debug, "fuse-debug", false, "log every request, names included")
	c.Flags().StringVar(&f.logFile, "log-file", "", "file that the background process logs to")
	c.Flags().StringVar(&f.metrics, "metrics.listen", "", "serve /metrics for Prometheus on this address: how full the volume is, how a migration stands")
	c.Flags().IntVar(&f.readyFD, readyFlag, 0, "")
	must(c.Flags().MarkHidden(readyFlag))
	return c
}

// mountedLine is printed when the filesystem can be used.
const mountedLine = "mounted on "

// serve mounts and stays until somebody unmounts, or a signal asks to.
//
//  1. look at the mount point, before a key is asked for
//  2. open the volume, mount
//  3. answer other commands that are given the volume, and who watches it
//  4. say so, and let go of who started it
//  5. wait, close the volume
func (f *mountFlags) serve(c *cobra.Command, volume, dir string) error {
	if f.readyFD == 0 && f.logFile != "" {
		return usageError("leave one out", "--log-file is for mounts in the background, not for --foreground")
	}
	if f.readyFD != 0 {
		signal.Ignore(syscall.SIGPIPE) // who started it may be gone
		var err error
		if f.given, err = inherited(f.readyFD); err != nil {
			return err
		}
	}
	o, closeHost, err := f.mountOptions(c, volume)
	if err != nil {
		return err
	}
	defer closeHost()
	if o.Platform.Mode() == attest.Release {
		return errMountInRelease
	}
	if err := mount.Check(dir); err != nil {
		return stale(dir, err)
	}
	v, err := coffer.Open(c.Context(), o)
	if err != nil {
		return mountError(volume, err)
	}
	dir = abs(dir)
	m, err := mount.New(v.FS, dir, mount.Options{
		AllowOther: f.allowOther, ReadOnly: o.ReadOnly, NoACL: f.noACL,
		Name: mountSource(volume), Logger: o.Logger, Debug: f.debug,
	})
	if err != nil {
		return errors.Join(err, v.Close())
	}
	stopTuning := tune(v)
	defer stopTuning()
	moving := &migration{}
	stopMetrics, err := serveMetrics(f.metrics, v, o.Volume, moving)
	if err != nil {
		return errors.Join(err, m.Unmount(), v.Close())
	}
	if v.HandedOver() && !o.ReadOnly {
		moving.takeUp(v)
	}
	stopControl := serveControl(volume, v, o, moving)
	stop := func() error {
		moving.task.End() // it goes on when the volume is open again
		return errors.Join(stopControl(), stopMetrics())
	}
	if err := f.ready(c, dir); err != nil {
		return errors.Join(err, m.Unmount(), stop(), v.Close())
	}
	err = wait(c.Context(), m, dir, o.Logger)
	return withClose(errors.Join(err, stop()), mountError(volume, v.Close()))
}

// mountError says which volume is meant, if any is.
func mountError(volume string, err error) error {
	if volume == "" {
		return err
	}
	return volumeError(volume, err)
}

// mountOptions are those of a volume, or of the filesystem in memory if none is named.
func (f *mountFlags) mountOptions(c *cobra.Command, volume string) (o coffer.Options, closeHost func() error, err error) {
	if volume != "" {
		o, closeHost, err = f.options(c, volume)
	} else {
		o, closeHost, err = f.memoryOptions(c)
	}
	o.ReadOnly = f.readOnly || f.snapshot != ""
	o.VolumeOnly = o.ReadOnly // whoever only looks wants to see what is there
	return o, closeHost, err
}

func (f *mountFlags) memoryOptions(c *cobra.Command) (coffer.Options, func() error, error) {
	o, err := f.enclaveOptions(c)
	switch {
	case err != nil:
	case o.Config.PersistentFileSystemSize > 0:
		err = usageError("name its volume: coffer mount VOLUME DIR", "%s: the configuration has a persistent filesystem", f.config)
	case f.snapshot != "" || f.readOnly:
		err = usageError("leave it out", "--snapshot and --read-only are for volumes, and what is in memory is empty at first")
	}
	return o, func() error { return nil }, err
}

var errMountInRelease = &failure{exitPlatform, errors.New("a mount shows plaintext to the machine: refused to a release enclave"), "use the Go API"}

// stale tells how to clear away what a dead mount left behind.
func stale(dir string, err error) error {
	if errors.Is(err, mount.ErrBusy) {
		return &failure{exitMountBusy, err, "coffer umount " + quote(dir) + ", or mount somewhere else"}
	}
	return err
}

// serveControl lets other commands ask for what only this process can do. That it
// can't be asked is no reason not to mount. A filesystem in memory is not asked.
func serveControl(volume string, v *coffer.Volume, o coffer.Options, m *migration) (stop func() error) {
	if volume == "" {
		return func() error { return nil }
	}
	j := newScrubJob(v, tellFor(volume))
	s, err := control.Serve(volume, volumeService{v, m}.handler(volume, j))
	if err != nil {
		o.Logger.Warn("other commands can't ask this mount for snapshots, a scrub or another size", "error", err)
		return func() error { return nil }
	}
	return func() error {
		j.close()
		return s.Close()
	}
}

// ready says that the filesystem can be used.
func (f *mountFlags) ready(c *cobra.Command, dir string) error {
	if f.readyFD != 0 {
		return detach(f.readyFD, f.given, f.logFile)
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%s%s\n", mountedLine, dir)
	return err
}

// wait returns when the filesystem was unmounted, by whomever. When ctx ends it
// unmounts it itself.
func wait(ctx context.Context, m *mount.Mount, dir string, logger *slog.Logger) error {
	gone := make(chan struct{})
	go func() { m.Wait(); close(gone) }()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(again)
	if err := unmount(dir, false); err != nil {
		logger.Warn("the mount is in use: it ends when it no longer is, or at the next signal", "dir", dir, "error", err)
		if err := unmount(dir, true); err != nil {
			return err
		}
	}
	select {
	case <-gone:
		return nil
	case <-again:
		return &failure{exitMountBusy, fmt.Errorf("mount on %q: stopped while it was in use", dir), "what had been written to it is saved"}
	}
}

// mountSource is how the volume is found again from the mount. In memory there is none.
func mountSource(volume string) string {
	if volume == "" {
		return memorySource
	}
	return volumeSource + absVolume(volume)
}

const (
	memorySource = "coffer"
	volumeSource = "coffer:"
)

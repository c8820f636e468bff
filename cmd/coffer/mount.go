package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/fs/mount"
	"github.com/coffer-fs/coffer/kds/attest"
)

type mountFlags struct {
	enclaveFlags
	foreground, readOnly, allowOther, debug bool
}

func newMount() *cobra.Command {
	var f mountFlags
	c := &cobra.Command{
		Use:   "mount VOLUME DIR",
		Short: "Mount a volume, for debugging and simulation",
		Long: `mount shows the filesystem of a volume on the directory DIR, until it is
unmounted. The kernel of this machine then sees what is in it: it is for
debugging and for simulated enclaves, and refused in release mode.

It goes to the background when the filesystem is mounted; with --foreground it
stays, and prints a line when it is.`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			if f.foreground {
				return f.serve(c, a[0], a[1])
			}
			return background(a[1])
		},
	}
	f.register(c)
	c.Flags().BoolVar(&f.foreground, "foreground", false, "stay, and unmount at SIGTERM or SIGINT")
	c.Flags().BoolVar(&f.readOnly, "read-only", false, "mount read-only")
	c.Flags().BoolVar(&f.allowOther, "allow-other", false, "let other users use it too")
	c.Flags().BoolVar(&f.debug, "fuse-debug", false, "log every request, names included")
	return c
}

// mountedLine is printed when the filesystem can be used.
const mountedLine = "mounted on "

// serve mounts and stays until somebody unmounts, or a signal asks to.
func (f *mountFlags) serve(c *cobra.Command, volume, dir string) error {
	o, closeHost, err := f.options(c, volume)
	if err != nil {
		return err
	}
	defer closeHost()
	if o.Platform.Mode() == attest.Release {
		return &failure{exitPlatform, errors.New("a mount shows plaintext to the machine: refused to a release enclave"), "use the Go API"}
	}
	o.ReadOnly = f.readOnly
	// What is wrong with the mount point is said before a key is asked for.
	if err := mount.Check(dir); err != nil {
		return err
	}
	v, err := coffer.Open(c.Context(), o)
	if err != nil {
		return volumeError(volume, err)
	}
	m, err := mount.New(v.Tree(), dir, mount.Options{
		AllowOther: f.allowOther, ReadOnly: f.readOnly, Name: mountSource(volume), Logger: o.Logger, Debug: f.debug,
	})
	if err != nil {
		return errors.Join(err, v.Close())
	}
	fmt.Fprintf(c.OutOrStdout(), "%s%s\n", mountedLine, dir)
	stop := context.AfterFunc(c.Context(), func() {
		if err := m.Unmount(); err != nil {
			o.Logger.Error("unmount", "error", err)
		}
	})
	defer stop()
	m.Wait()
	return volumeError(volume, v.Close())
}

// mountSource is how the volume is found again from the mount.
func mountSource(volume string) string { return "coffer:" + abs(volume) }

// background starts this command again as a process of its own, and returns
// when that has mounted or failed.
func background(dir string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(exe, append(os.Args[1:], "--foreground")...)
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	messages, err := os.CreateTemp("", "coffer-mount-")
	if err != nil {
		return err
	}
	defer messages.Close()
	defer os.Remove(messages.Name())
	child.Stderr = messages
	if err := child.Start(); err != nil {
		return err
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if strings.HasPrefix(line, mountedLine) {
		copyMessages(messages)
		return child.Process.Release()
	}
	err = child.Wait()
	copyMessages(messages)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode()) // it has said why
	}
	return fmt.Errorf("mount on %q: the background process ended: %w", dir, err)
}

// copyMessages shows what the background process had to say.
func copyMessages(f *os.File) {
	b, err := os.ReadFile(f.Name())
	if err == nil {
		_, _ = os.Stderr.Write(b)
	}
}

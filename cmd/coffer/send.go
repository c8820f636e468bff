package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/point"
	"github.com/coffer-fs/coffer/store/host/transfer"
)

// sendFlags are the flags of send.
type sendFlags struct {
	host            hostFlags
	snapshot, since string
	token           string
	keep            time.Duration
}

func newSend() *cobra.Command {
	var f sendFlags
	c := &cobra.Command{
		Use:   "send VOLUME [--snapshot NAME] [--since NAME] > STREAM",
		Short: "Write what a volume is now to standard output, sealed as it is; needs no key",
		Long: `send writes a consistent state of the volume, which may be in use: everything that
was synced before is in it. What is written are sealed bytes; whoever receives them needs
the volume's key to open it, as ever.

  coffer send VOLUME | ssh OTHER coffer receive DIR

With --snapshot the state is kept under that name (coffer point), and a later send writes
only what has changed --since it. If there is a point of that name already, that is what
is sent. Names of snapshots inside the volume are sealed too, so these are others.

A transfer that was cut off goes on with --resume-token, which the receiver prints.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error { return f.send(c, a[0]) },
	}
	f.host.register(c)
	c.Flags().StringVar(&f.snapshot, "snapshot", "", "keep what is sent as a point of that name, or send the one that there is")
	c.Flags().StringVar(&f.since, "since", "", "send only what changed since that point, which the receiver has")
	c.Flags().StringVar(&f.token, "resume-token", "", "go on with a transfer that was cut off")
	registerKeep(c, &f.keep)
	c.MarkFlagsMutuallyExclusive("resume-token", "snapshot")
	c.MarkFlagsMutuallyExclusive("resume-token", "since")
	return c
}

// outgoing is what is to be sent.
type outgoing struct {
	keeper host.PointKeeper
	point  host.Point
	since  host.Point // nil: all
	m      point.Manifest
	at     point.Position
}

func (f sendFlags) send(c *cobra.Command, volume string) error {
	if term.IsTerminal(int(os.Stdout.Fd())) {
		return usageError("COMMAND >FILE, or into a pipe", "standard output is a terminal, and what is sent is not for people")
	}
	return f.host.withPoints(c.Context(), volume, func(k host.PointKeeper) error {
		o, err := f.open(c, k)
		if err != nil {
			return err
		}
		b := newBar(os.Stderr, "sending", o.m.Bytes()-o.m.Done(o.at))
		err = transfer.Send(c.Context(), os.Stdout, o.point, o.m, transfer.SendOptions{
			At: o.at, Progress: func(n int64) { b.set(n, o.m.Bytes()-o.m.Done(o.at)) },
		})
		b.finish()
		return errors.Join(err, o.close(c, err == nil))
	})
}

// open finds or takes the points.
func (f sendFlags) open(c *cobra.Command, k host.PointKeeper) (o *outgoing, err error) {
	o = &outgoing{keeper: k}
	if f.token != "" {
		return o, o.resume(c, f.token)
	}
	if f.since != "" {
		if o.since, err = k.OpenPoint(c.Context(), f.since); err != nil {
			return nil, pointError(err)
		}
	}
	if o.point, err = takeOrOpen(c, k, f.snapshot, f.keep); err != nil {
		return nil, errors.Join(pointError(err), o.close(c, false))
	}
	o.describe()
	if o.since != nil && o.m.ID == o.m.Since {
		err := usageError("name an earlier one", "there is nothing between %q and itself", f.since)
		return nil, errors.Join(err, o.close(c, false))
	}
	return o, nil
}

// takeOrOpen opens the point of a name, or takes it. Without a name it takes one for
// this transfer.
func takeOrOpen(c *cobra.Command, k host.PointKeeper, name string, keep time.Duration) (host.Point, error) {
	if name == "" {
		return k.TakePoint(c.Context(), host.PointOptions{Keep: transferKeep})
	}
	p, err := k.OpenPoint(c.Context(), name)
	if errors.Is(err, host.ErrNotFound) {
		return k.TakePoint(c.Context(), host.PointOptions{Name: name, Keep: keep})
	}
	return p, err
}

func (o *outgoing) describe() {
	if o.since != nil {
		c := o.since.Contents()
		o.m = point.Of(o.point.Contents(), &c)
	} else {
		o.m = point.Of(o.point.Contents(), nil)
	}
	o.at = o.m.Start()
}

// resume finds what a token is of.
func (o *outgoing) resume(c *cobra.Command, text string) error {
	t, err := point.ParseToken(text)
	if err != nil {
		return err
	}
	if o.point, err = o.keeper.OpenPoint(c.Context(), t.ID.String()); err != nil {
		return gone(err)
	}
	if t.Since != (host.PointID{}) {
		if o.since, err = o.keeper.OpenPoint(c.Context(), t.Since.String()); err != nil {
			return errors.Join(gone(err), o.close(c, false))
		}
	}
	o.describe()
	if o.at, err = transfer.Resume(o.m, t); err != nil {
		return errors.Join(err, o.close(c, false))
	}
	return nil
}

// gone is the error of a point that a token is of, and that is not there.
func gone(err error) error {
	if errors.Is(err, host.ErrNotFound) {
		err = &failure{exitNotFound, err, "it was dropped, or is of another volume: begin anew, after coffer receive DIR --abort"}
	}
	return err
}

// transferPrefix begins the names of points that nobody named.
const transferPrefix = "transfer-"

// close lets go of the points. One that was taken for this transfer goes if that is
// done, and stays to be resumed if not.
func (o *outgoing) close(c *cobra.Command, done bool) (err error) {
	if o.since != nil {
		err = o.since.Close()
	}
	if o.point == nil {
		return err
	}
	err = errors.Join(err, o.point.Close())
	i := o.point.Contents().Info
	if !done || !strings.HasPrefix(i.Name, transferPrefix) {
		return err
	}
	if dropErr := o.keeper.DropPoint(c.Context(), i.Name); !errors.Is(dropErr, host.ErrNotFound) {
		err = errors.Join(err, dropErr)
	}
	return err
}

// sentText says what a transfer brought.
func sentText(m point.Manifest) string {
	if m.Whole() {
		return fmt.Sprintf("point %s, %s", m.Name, bytesText(m.VolumeBytes()))
	}
	return fmt.Sprintf("point %s, %s, of which %s came", m.Name, bytesText(m.VolumeBytes()), bytesText(m.Bytes()))
}

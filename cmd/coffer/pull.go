package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/transfer"
)

// pullFlags are the flags of pull.
type pullFlags struct {
	host     hostFlags
	place    receiveFlags
	snapshot string
	keep     time.Duration
}

func newPull() *cobra.Command {
	var f pullFlags
	c := &cobra.Command{
		Use:   "pull ADDRESS DIR",
		Short: "Fetch a volume from another host's process into a directory; needs no key",
		Long: `pull asks the host process at ADDRESS (coffer host serve) for what its volume is now,
and makes the volume DIR of it. The volume may be in use. If DIR came by a transfer and
the other host keeps the point that it is, only what has changed since is fetched; so a
backup is pulled again and again with --snapshot and another name each time.

  coffer pull tcp://other/app app --snapshot monday --host.token-file token --host.pin sha256:...

tcp://HOST[:PORT]/VOLUME is TCP with TLS, at port 8480 if none is given; the addresses of
coffer host serve --help work too. If it is stopped, the same command goes on.`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error { return f.pull(c, a[0], a[1]) },
	}
	f.host.register(c)
	c.Flags().StringVar(&f.place.limit, "limit", "", "how large the volume may be, with k, m, g or t; default: what there is room for")
	c.Flags().StringVar(&f.snapshot, "snapshot", "", "keep what is fetched as a point of that name at the other host, or fetch the one that there is")
	registerKeep(c, &f.keep)
	return c
}

func (f pullFlags) pull(c *cobra.Command, address, dir string) error {
	if !remote.IsURL(address) {
		return usageError("a volume on this machine: coffer send VOLUME | coffer receive DIR", "%q is not the address of a host process", address)
	}
	place, err := f.place.place(c, dir)
	if err != nil {
		return err
	}
	return f.host.withPoints(c.Context(), address, func(k host.PointKeeper) error {
		o, err := f.open(c, k, dir)
		if err != nil {
			return err
		}
		if o.since != nil && o.m.ID == o.m.Since {
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s is point %s already\n", dir, o.m.Name)
			return errors.Join(err, o.close(c, true))
		}
		b := newBar(os.Stderr, "fetching", o.m.Bytes())
		err = transfer.CopyInto(c.Context(), o.point, o.m, place, func(n int64) { b.set(n, o.m.Bytes()) })
		b.finish()
		if err = errors.Join(err, o.close(c, err == nil)); err != nil {
			return pullable(dir, err)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "received %s\n", sentText(o.m))
		return err
	})
}

// pullable adds to an error that the same command goes on, if it does.
func pullable(dir string, err error) error {
	m, at, pendingErr := local.PendingTransfer(dir)
	if pendingErr != nil || errors.Is(err, local.ErrOther) || errors.Is(err, local.ErrDiverged) {
		return transferError(dir, err)
	}
	return &failure{classify(err).code, err, fmt.Sprintf("%s of %s have come; go on with: COMMAND", bytesText(m.Done(at)), bytesText(m.Bytes()))}
}

// open finds what to fetch: the rest of what was begun, what changed since the point
// that dir is, or all.
func (f pullFlags) open(c *cobra.Command, k host.PointKeeper, dir string) (o *outgoing, err error) {
	o = &outgoing{keeper: k}
	if m, at, err := local.PendingTransfer(dir); err == nil {
		return o, o.resume(c, m.Token(at).String())
	}
	r, ok, err := receivedIn(c, dir)
	if err != nil {
		return nil, err
	}
	if ok {
		o.since, err = k.OpenPoint(c.Context(), r.Point.String())
		if errors.Is(err, host.ErrNotFound) {
			return nil, &failure{exitDiverged, fmt.Errorf("%q is point %q, which the other host does not keep: %w", dir, r.Name, err),
				"pull into another directory; and keep points by --snapshot"}
		} else if err != nil {
			return nil, err
		}
	}
	if o.point, err = takeOrOpen(c, k, f.snapshot, f.keep); err != nil {
		return nil, errors.Join(pointError(err), o.close(c, false))
	}
	o.describe()
	return o, nil
}

// receivedIn says which point a directory is, if it is one.
func receivedIn(c *cobra.Command, dir string) (r host.Received, ok bool, err error) {
	v, err := local.Open(dir)
	if errors.Is(err, host.ErrNotFound) {
		return r, false, nil
	} else if err != nil {
		return r, false, volumeError(dir, err)
	}
	r, ok, err = v.Received(c.Context())
	return r, ok, errors.Join(err, v.Close())
}

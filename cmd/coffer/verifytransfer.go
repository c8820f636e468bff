package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/transfer"
)

func newVerifyTransfer() *cobra.Command {
	var f hostFlags
	var snapshot string
	c := &cobra.Command{
		Use:   "verify-transfer COPY [OTHER]",
		Short: "Compare two copies of a volume, byte by byte; needs no key",
		Long: `verify-transfer prints the digest of a copy, or of two, and compares them. A copy is
the directory of a volume, what coffer send wrote into a file, or the address of a volume
that a host process serves (whose word is what is printed then), or that is in an object
store; that one is held while it is read.

A copy that was received is compared with the point that it is, if the other one keeps
that; else with what the other one is now. --snapshot names the point.

That two copies are the same says nothing of whether they are authentic: opening one does.`,
		Args: args(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, a []string) error { return verifyTransfer(c, f, snapshot, a) },
	}
	f.register(c)
	c.Flags().StringVar(&snapshot, "snapshot", "", "compare what the volumes were at the point of that name")
	return c
}

// copied is one copy of a volume.
type copied struct {
	name     string
	stream   bool
	volume   host.Volume
	keeper   host.PointKeeper
	received host.PointID // what it is, if it came by a transfer and was not changed
	label    string       // the name of that point
	digest   transfer.Digest
	of       string // which point was read
}

func verifyTransfer(c *cobra.Command, f hostFlags, snapshot string, names []string) (err error) {
	copies := make([]*copied, len(names))
	defer func() {
		for _, p := range copies {
			if p != nil && p.volume != nil {
				err = errors.Join(err, p.volume.Close())
			}
		}
	}()
	for i, name := range names {
		if copies[i], err = openCopy(c.Context(), f, name); err != nil {
			return volumeError(name, err)
		}
	}
	out := &printer{w: c.OutOrStdout()}
	for i, p := range copies {
		var other host.PointID
		if len(copies) == 2 {
			other = copies[1-i].received
		}
		if err := p.read(c.Context(), other, snapshot); err != nil {
			return volumeError(p.name, err)
		}
		out.line("%v  %s, %s", p.digest, p.name, p.of)
	}
	if len(copies) < 2 || out.err != nil {
		return out.err
	}
	if copies[0].digest != copies[1].digest {
		return &failure{exitDiffer, fmt.Errorf("%q and %q are not the same", names[0], names[1]),
			"a volume that is written changes: compare it at a point, by --snapshot"}
	}
	out.line("the same")
	return out.err
}

// openCopy opens a copy. One that is a stream is read at once.
func openCopy(ctx context.Context, f hostFlags, name string) (*copied, error) {
	p := &copied{name: name}
	if !remote.IsURL(name) {
		if info, err := os.Stat(name); err == nil && !info.IsDir() {
			return p, p.readStream(ctx)
		}
	}
	v, err := f.open(ctx, name)
	if err != nil {
		return nil, err
	}
	p.volume = v
	if s3.IsURL(name) { // it keeps no points
		return p, nil
	}
	if p.keeper, err = keeperOf(p.volume); err != nil {
		return p, err
	}
	r, ok, err := p.keeper.Received(ctx)
	if ok && !r.Changed {
		p.received, p.label = r.Point, r.Name
	}
	return p, err
}

func (p *copied) readStream(ctx context.Context) error {
	file, err := os.Open(p.name)
	if err != nil {
		return err
	}
	defer file.Close()
	m, d, err := transfer.DigestOfStream(ctx, &stopping{ctx, file})
	p.stream, p.received, p.label, p.digest, p.of = true, m.ID, m.Name, d, "point "+m.Name
	return err
}

// read reads a copy as it was at the point that the other one is, or at the one of that
// name, or as it is.
func (p *copied) read(ctx context.Context, other host.PointID, snapshot string) error {
	if p.stream {
		if snapshot != "" && p.label != snapshot {
			return pointError(fmt.Errorf("it is point %q, not %q: %w", p.label, snapshot, host.ErrNotFound))
		}
		return nil
	}
	if p.keeper == nil {
		return p.readStanding(ctx, snapshot)
	}
	pt, drop, err := p.open(ctx, other, snapshot)
	if err != nil {
		return pointError(err)
	}
	err = p.digestOf(ctx, pt)
	name := pt.Contents().Info.Name
	err = errors.Join(err, pt.Close())
	if drop {
		err = errors.Join(err, p.keeper.DropPoint(ctx, name))
	}
	return err
}

func (p *copied) digestOf(ctx context.Context, pt host.Point) (err error) {
	b := newBar(os.Stderr, "reading", pointBytes(pt))
	p.digest, err = transfer.DigestOf(ctx, pt, func(n int64) { b.set(n, pointBytes(pt)) })
	b.finish()
	return err
}

// readStanding reads a volume that is held meanwhile.
func (p *copied) readStanding(ctx context.Context, snapshot string) error {
	if snapshot != "" {
		return usageError("leave --snapshot away", "an object store keeps no points of volumes")
	}
	pt, done, err := standing(ctx, p.volume)
	if err != nil {
		return err
	}
	p.of = "as it is now"
	return errors.Join(p.digestOf(ctx, pt), pt.Close(), done())
}

// open opens or takes the point to be read; drop says that it was taken for that.
func (p *copied) open(ctx context.Context, other host.PointID, snapshot string) (pt host.Point, drop bool, err error) {
	switch {
	case snapshot != "":
		pt, err = p.keeper.OpenPoint(ctx, snapshot)
		if !errors.Is(err, host.ErrNotFound) || p.label != snapshot {
			p.of = "point " + snapshot
			return pt, false, err
		}
	case other != host.PointID{} && other != p.received:
		pt, err = p.keeper.OpenPoint(ctx, other.String())
		if err == nil {
			p.of = "point " + pt.Contents().Info.Name
			return pt, false, nil
		}
		if !errors.Is(err, host.ErrNotFound) {
			return nil, false, err
		}
	}
	p.of = "as it is now"
	if p.label != "" {
		p.of = "point " + p.label
	}
	pt, err = p.keeper.TakePoint(ctx, host.PointOptions{Keep: transferKeep})
	return pt, true, err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/transfer"
)

func newCopy() *cobra.Command {
	var f hostFlags
	c := &cobra.Command{
		Use:   "copy SOURCE DEST",
		Short: "Copy a volume between a directory, a host process and an object store; needs no key",
		Long: `copy makes the volume DEST of what SOURCE is now. Each is a directory, the address of a
volume at a host process, or s3://BUCKET/PREFIX. What is copied are sealed bytes.

A SOURCE in a directory may be in use: the copy is of one instant, and has all that was
synced before. Another one is held while it is copied, so that it stands still.

A copy that was cut off goes on when the same command is given again: what is there is
read back and compared, and only what is missing or differs is copied. Until all of it is
there, DEST is no volume.

The copy is the same volume: only one of the two may be written from here on.`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error { return f.copy(c, a[0], a[1]) },
	}
	f.register(c)
	return c
}

// copyKeep is how long a point lasts whose copy was cut off.
const copyKeep = 24 * time.Hour

// copy copies a volume.
//
//  1. open the source, and have it stand still
//  2. make the place, become its writer
//  3. copy segments, then records
func (f hostFlags) copy(c *cobra.Command, source, dest string) error {
	ctx := c.Context()
	v, err := f.open(ctx, source)
	if err != nil {
		return volumeError(source, err)
	}
	size := int64(0)
	err = withPoint(ctx, v, func(p host.Point, h int64) error {
		for _, s := range p.Contents().Segments {
			size += s.Size
		}
		return volumeError(dest, f.fill(ctx, p, dest, h, size))
	})
	if err = withClose(err, v.Close()); err != nil {
		return volumeError(source, err)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "copied %s to %s, %s\n", source, dest, bytesText(size))
	return err
}

// withPoint calls fn with what a volume is, and the size of its segments.
func withPoint(ctx context.Context, v host.Volume, fn func(p host.Point, segment int64) error) (err error) {
	_, h, err := store.ReadHeader(ctx, v)
	if err != nil {
		return err
	}
	p, done, err := standing(ctx, v)
	if err != nil {
		return err
	}
	return errors.Join(fn(p, int64(1)<<h.SegmentShift), p.Close(), done())
}

// standing takes a point, or holds a volume of which there are none.
func standing(ctx context.Context, v host.Volume) (p host.Point, done func() error, err error) {
	if k, ok := v.(host.PointKeeper); ok {
		p, err = k.TakePoint(ctx, host.PointOptions{Keep: copyKeep})
		if err == nil {
			id := p.Contents().Info.ID.String()
			return p, func() error { return k.DropPoint(context.WithoutCancel(ctx), id) }, nil
		}
		if !errors.Is(err, host.ErrInvalid) { // a host process may serve volumes that keep none
			return nil, nil, err
		}
	}
	w, err := v.Acquire(ctx, host.AcquireOptions{Owner: "coffer copy"})
	if err != nil {
		return nil, nil, err
	}
	done = func() error { return w.Release(context.WithoutCancel(ctx)) }
	if p, err = transfer.Still(ctx, w); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return p, done, nil
}

// fill makes the volume dest of a point.
func (f hostFlags) fill(ctx context.Context, p host.Point, dest string, segment, size int64) error {
	if err := f.makeCopyPlace(ctx, dest); err != nil {
		return err
	}
	to, err := f.open(ctx, dest)
	if err != nil {
		return err
	}
	w, err := to.Acquire(ctx, host.AcquireOptions{Owner: "coffer copy"})
	if err != nil {
		return withClose(err, to.Close())
	}
	b := newBar(os.Stderr, "copying", size)
	err = transfer.Fill(ctx, p, w, transfer.FillOptions{Capacity: segment, Progress: func(n int64) { b.set(n, size) }})
	b.finish()
	return withClose(withClose(err, w.Release(context.WithoutCancel(ctx))), to.Close())
}

// makeCopyPlace makes the place of a copy, unless an attempt before did.
func (f hostFlags) makeCopyPlace(ctx context.Context, dest string) error {
	_, err := f.makePlace(ctx, dest)
	if errors.Is(err, host.ErrExists) {
		err = nil // Fill finds out whether it is a volume
	}
	return err
}

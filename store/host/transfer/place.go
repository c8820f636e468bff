package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/point"
)

// Place is where a volume comes to be. local.Receive makes one.
type Place interface {
	Sink
	// At is how far the transfer has come.
	At() point.Position
	// Rewind goes back to an earlier position, whose bytes come again.
	Rewind(at point.Position) error
	// Finish makes the volume of what has come, when all of it has.
	Finish(ctx context.Context) error
	// Close lets go of the place, and keeps what has come for another time. After
	// Finish it has nothing to do.
	Close() error
}

// Open opens the place for what a manifest describes.
type Open func(m point.Manifest) (Place, error)

// Into reads a stream into the place that open gives, and makes a volume of it. After
// an error of the stream what has come stays there, to be resumed.
func Into(ctx context.Context, r io.Reader, open Open) (m point.Manifest, err error) {
	var to Place
	err = Receive(ctx, r, func(got point.Manifest, at point.Position) (Sink, error) {
		m = got
		place, err := open(m)
		if err != nil {
			return nil, err
		}
		to = place
		if to.At().Before(at) {
			return nil, fmt.Errorf("it begins at segment %d, byte %d, and what came ends at segment %d, byte %d: %w",
				at.Segment, at.Offset, to.At().Segment, to.At().Offset, ErrPosition)
		}
		return to, to.Rewind(at)
	})
	if to == nil {
		return m, err
	}
	return m, finish(ctx, to, err)
}

// finish makes a volume of what has come, if all has.
func finish(ctx context.Context, to Place, err error) error {
	if err == nil {
		err = to.Finish(ctx)
	}
	return errors.Join(err, to.Close())
}

// CopyInto is Into for a point that can be read.
func CopyInto(ctx context.Context, p host.Point, m point.Manifest, open Open, progress func(bytes int64)) error {
	to, err := open(m)
	if err != nil {
		return err
	}
	return finish(ctx, to, Copy(ctx, p, m, to.At(), &counted{to, progress, 0}))
}

// counted tells how many bytes a sink was given.
type counted struct {
	Sink
	progress func(int64)
	bytes    int64
}

func (c *counted) Write(ctx context.Context, p []byte) error {
	err := c.Sink.Write(ctx, p)
	if c.bytes += int64(len(p)); err == nil && c.progress != nil {
		c.progress(c.bytes)
	}
	return err
}

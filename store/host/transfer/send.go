package transfer

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/point"
)

// SendOptions say how to send. The zero value sends all.
type SendOptions struct {
	// At is where to begin. Zero: at the start.
	At point.Position
	// Progress is told how many bytes of segments were sent so far, of this stream.
	Progress func(bytes int64)
}

const (
	// sendWorkers read and check chunks while others are being written.
	sendWorkers = 4
	// sendAhead is how many chunks are read ahead.
	sendAhead = 8
)

// Send writes the stream of m, which is a manifest of p, to w. If w is a pipe and the
// segments are files, their bytes go from one to the other in the kernel: what is read
// here is for the checksum alone.
func Send(ctx context.Context, w io.Writer, p host.Point, m point.Manifest, o SendOptions) error {
	at := o.At
	if at == (point.Position{}) {
		at = m.Start()
	}
	if !m.Has(at) {
		return fmt.Errorf("send from segment %d, byte %d: %w", at.Segment, at.Offset, host.ErrInvalid)
	}
	if err := send(ctx, w, p, m, at, o.Progress); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

func send(ctx context.Context, w io.Writer, p host.Point, m point.Manifest, at point.Position, progress func(int64)) error {
	heads := newHeads()
	head := appendHead(nil, m, at)
	heads.Write(head)
	if _, err := w.Write(head); err != nil {
		return err
	}
	move := spliceFrom(p, w)
	var sent int64
	err := each(ctx, p, m, at, move != nil, func(c *piece) error {
		head := appendChunkHead(c.head[:0], c.chunk, c.sum)
		heads.Write(head)
		if _, err := w.Write(head); err != nil {
			return err
		}
		var err error
		if move != nil {
			err = move(ctx, c.chunk)
		} else {
			_, err = w.Write(c.buf[:c.size])
		}
		if err != nil {
			return err
		}
		if sent += c.size; progress != nil {
			progress(sent)
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = w.Write(appendEnd(nil, heads))
	return err
}

// Copy puts m, which is a manifest of p, into a sink, from a position on.
func Copy(ctx context.Context, p host.Point, m point.Manifest, at point.Position, to Sink) error {
	err := each(ctx, p, m, at, false, func(c *piece) error { return to.Write(ctx, c.buf[:c.size]) })
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}

// piece is a chunk that was read.
type piece struct {
	chunk
	buf  []byte // MaxChunk of room; of a sum alone, what fits
	head [chunkHead]byte
	sum  uint32
	err  error
	done chan struct{}
}

// sumWindow is how much is read at once for a checksum alone: what the processor keeps
// near.
const sumWindow = 128 << 10

// each calls do for each chunk in order, while those behind are being read. With sumOnly
// the bytes are not kept.
func each(ctx context.Context, p host.Point, m point.Manifest, at point.Position, sumOnly bool, do func(*piece) error) error {
	ctx, cancel := context.WithCancel(ctx)
	work, order := make(chan *piece, sendAhead), make(chan *piece, sendAhead)
	free := make(chan *piece, sendAhead)
	for range sendAhead {
		size := MaxChunk
		if sumOnly {
			size = sumWindow
		}
		free <- &piece{buf: make([]byte, size)}
	}
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for range sendWorkers {
		running.Go(func() {
			for c := range work {
				c.err = c.read(ctx, p, sumOnly)
				close(c.done)
			}
		})
	}
	running.Go(func() {
		defer close(order)
		defer close(work)
		for c := chunkAt(m, at); c.size > 0; c = chunkAt(m, m.After(c.at, c.size)) {
			select {
			case q := <-free:
				q.chunk, q.done = c, make(chan struct{})
				work <- q
				order <- q
			case <-ctx.Done():
				return
			}
		}
	})
	for c := range order {
		<-c.done
		if c.err != nil {
			return c.err
		}
		if err := do(c); err != nil {
			return err
		}
		free <- c
	}
	return ctx.Err()
}

// read reads a chunk, or its checksum alone.
func (c *piece) read(ctx context.Context, p host.Point, sumOnly bool) error {
	c.sum = 0
	for off := int64(0); off < c.size; {
		b := c.buf[:min(int64(len(c.buf)), c.size-off)]
		if n, err := p.Read(ctx, c.id, c.at.Offset+off, b); err != nil || n < len(b) {
			return fmt.Errorf("read segment %d: %d of %d bytes at %d: %w", c.id, n, len(b), c.at.Offset+off, orShort(err))
		}
		c.sum = point.UpdateChecksum(c.sum, b)
		off += int64(len(b))
	}
	return nil
}

func orShort(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

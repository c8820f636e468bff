package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
)

// ErrFilled: there is a volume already where one was to be made.
var ErrFilled = errors.New("there is a volume already")

// lastRecord makes a volume of what was copied: without it there is none.
const lastRecord = "root"

// FillOptions say how to fill a volume.
type FillOptions struct {
	// Capacity is that of segments, in bytes: those of the volume. Default: what
	// is in them.
	Capacity int64
	// Progress is told how many bytes of segments are there so far.
	Progress func(bytes int64)
}

// Fill makes a copy of a point on any host, through its writer. It may be cut off and
// begun anew with the same point or a later one: a segment that is there is read back,
// and copied again only if it differs. Segments that are not in the point are deleted.
// The records come last, when everything else is durable, and root after all others: so
// there is no volume before all of it is there. ErrFilled if it has a root.
func Fill(ctx context.Context, p host.Point, w host.Writer, o FillOptions) error {
	if err := fill(ctx, p, w, o); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}

func fill(ctx context.Context, p host.Point, w host.Writer, o FillOptions) error {
	if _, err := w.Get(ctx, lastRecord); !errors.Is(err, host.ErrNotFound) {
		return errors.Join(ErrFilled, err)
	}
	there, err := segmentsOf(ctx, w)
	if err != nil {
		return err
	}
	c := p.Contents()
	f := &filler{p, w, o, make([]byte, MaxChunk), make([]byte, MaxChunk), 0}
	for _, s := range c.Segments {
		size, old := there[s.ID]
		delete(there, s.ID)
		if err := f.segment(ctx, s, size, old); err != nil {
			return fmt.Errorf("segment %d: %w", s.ID, err)
		}
	}
	for id := range there {
		if err := w.Delete(ctx, id); err != nil {
			return err
		}
	}
	return fillRecords(ctx, c.Records, w)
}

func segmentsOf(ctx context.Context, r host.Reader) (map[host.SegmentID]int64, error) {
	infos, err := r.Segments(ctx)
	sizes := make(map[host.SegmentID]int64, len(infos))
	for _, i := range infos {
		sizes[i.ID] = i.Size
	}
	return sizes, err
}

// filler copies segments.
type filler struct {
	p      host.Point
	w      host.Writer
	o      FillOptions
	buf    []byte
	other  []byte
	copied int64
}

// segment copies one, unless what is there is the same.
func (f *filler) segment(ctx context.Context, s host.PointSegment, size int64, there bool) error {
	if there {
		same, err := f.isSame(ctx, s, size)
		if same || err != nil {
			return err
		}
		if err := f.w.Delete(ctx, s.ID); err != nil {
			return err
		}
	}
	if err := f.w.Create(ctx, s.ID, max(s.Size, f.o.Capacity, 1)); err != nil {
		return err
	}
	err := f.each(ctx, s, func(off int64, b []byte) error { return f.w.Append(ctx, s.ID, off, b) })
	if err != nil {
		return err
	}
	if err := f.w.Sync(ctx, s.ID); err != nil {
		return err
	}
	f.done(s.Size)
	return nil
}

func (f *filler) done(size int64) {
	if f.copied += size; f.o.Progress != nil {
		f.o.Progress(f.copied)
	}
}

// each gives the bytes of a segment, chunk by chunk.
func (f *filler) each(ctx context.Context, s host.PointSegment, do func(off int64, b []byte) error) error {
	for off := int64(0); off < s.Size; {
		b := f.buf[:min(int64(len(f.buf)), s.Size-off)]
		if n, err := f.p.Read(ctx, s.ID, off, b); err != nil || n < len(b) {
			return fmt.Errorf("read %d of %d bytes at %d: %w", n, len(b), off, orShort(err))
		}
		if err := do(off, b); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

var errDiffers = errors.New("it differs")

// isSame compares what is there with the point.
func (f *filler) isSame(ctx context.Context, s host.PointSegment, size int64) (bool, error) {
	if size < s.Size {
		return false, nil
	}
	err := f.each(ctx, s, func(off int64, b []byte) error {
		there := f.other[:len(b)]
		n, err := f.w.Read(ctx, s.ID, off, there)
		if errors.Is(err, io.ErrUnexpectedEOF) || err == nil && (n < len(b) || !bytes.Equal(there, b)) {
			return errDiffers
		}
		return err
	})
	switch {
	case errors.Is(err, errDiffers):
		return false, nil
	case err != nil:
		return false, err
	}
	f.done(s.Size)
	return true, f.w.Sync(ctx, s.ID)
}

// fillRecords makes the records, root last. One that is there is replaced.
func fillRecords(ctx context.Context, records map[string][]byte, w host.Writer) error {
	names := slices.Sorted(maps.Keys(records))
	names = slices.DeleteFunc(names, func(name string) bool { return name == lastRecord })
	if _, ok := records[lastRecord]; ok {
		names = append(names, lastRecord)
	}
	for _, name := range names {
		old, err := w.Get(ctx, name)
		if err != nil && !errors.Is(err, host.ErrNotFound) {
			return err
		}
		if _, err := w.Swap(ctx, name, old.Version, records[name]); err != nil {
			return err
		}
	}
	return nil
}

package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/store/seal"
)

// checkBatch is how many sealed bytes of data Check verifies at once.
const checkBatch = 4 << 20

// sameFrame reports whether both extents lie in one frame.
func (e Extent) sameFrame(o Extent) bool {
	return e.Segment == o.Segment && e.Offset == o.Offset && e.Length == o.Length
}

// verifyPending verifies the frames set aside, in the order in which they are
// stored, neighbours in one host call and runs of them on all cores.
func (c *checker) verifyPending() error {
	frames := c.pending
	slices.SortFunc(frames, func(a, b pendingFrame) int {
		return cmp.Or(cmp.Compare(a.extent.Segment, b.extent.Segment), cmp.Compare(a.extent.Offset, b.extent.Offset))
	})
	frames = slices.CompactFunc(frames, func(a, b pendingFrame) bool { return a.extent.sameFrame(b.extent) })
	errs := make([]error, len(frames))
	starts := runs(frames)
	each(len(starts)-1, func(i int) {
		from, to := starts[i], starts[i+1]
		c.verifyRun(frames[from:to], errs[from:to])
	})
	for i, f := range frames {
		e := f.extent
		c.report.Frames++
		c.report.Bytes += e.frameEnd() - int64(e.Offset)
		d := Damage{Part: PartData, Key: f.key, Segment: e.Segment, Offset: e.Offset, Length: e.Length + seal.TagSize}
		if err := c.found(d, errs[i]); err != nil {
			return err
		}
	}
	c.pending, c.bytes = c.pending[:0], 0
	if c.progress != nil {
		c.progress(c.report)
	}
	return c.ctx.Err()
}

// runs returns the indices at which runs of neighbours begin, and the end.
func runs(frames []pendingFrame) []int {
	reads := make([]Read, len(frames))
	for i, f := range frames {
		reads[i].Extent = f.extent
	}
	starts := []int{0}
	for at := 0; at < len(reads); {
		at += neighbours(reads[at:])
		starts = append(starts, at)
	}
	return starts
}

// verifyRun reads neighbouring frames in one call and sets errs of those that do
// not verify. If there is not all of it, the frames are read one by one.
func (c *checker) verifyRun(frames []pendingFrame, errs []error) {
	first := frames[0].extent
	g := c.s.segment(first.Segment)
	if g == nil {
		for i := range errs {
			errs[i] = fmt.Errorf("segment %d is not in the volume: %w", first.Segment, ErrDamaged)
		}
		return
	}
	from, end := int64(first.Offset), int64(0)
	for _, f := range frames {
		end = max(end, f.extent.frameEnd())
	}
	buf := takeReadBuffer(int(end - from))
	defer giveReadBuffer(buf)
	err := c.s.readHost(c.ctx, g.id, from, (*buf)[:end-from])
	k, keyErr := c.s.key(g)
	for i, f := range frames {
		e := f.extent
		switch {
		case keyErr != nil:
			errs[i] = keyErr
		case err != nil:
			_, errs[i] = c.s.readFrame(c.ctx, g, seal.FrameData, e.Offset, e.Length+seal.TagSize)
		default:
			_, errs[i] = k.Open(nil, seal.FrameData, e.Offset, (*buf)[int64(e.Offset)-from:e.frameEnd()-from])
			if errors.Is(errs[i], seal.ErrDamaged) {
				errs[i] = ErrDamaged
			}
		}
	}
}

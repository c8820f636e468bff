package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

const (
	// maxHostRead bounds one read of neighbouring frames, in bytes.
	maxHostRead = 1 << 20
	// maxReadGap is how many bytes between two frames are read and thrown away
	// rather than costing a host call of their own.
	maxReadGap = 16 << 10
)

// Read is one piece to be read: Dst is filled from Extent, Off bytes into it.
type Read struct {
	Extent Extent
	Off    uint32
	Dst    []byte
}

// Read fills every piece. Neighbouring frames are read in one host call, and
// opened on all cores, so many pieces should be given at once. The extents must
// come from a View that has not ended, or be pinned by a Flush. ErrDamaged; what
// was filled by then is undefined, but never wrong data.
func (s *Store) Read(ctx context.Context, reads []Read) error {
	for len(reads) > 0 {
		n := neighbours(reads)
		if err := s.readRun(ctx, reads[:n]); err != nil {
			return err
		}
		reads = reads[n:]
	}
	return nil
}

// neighbours returns how many of reads, from the first on, lie close together.
func neighbours(reads []Read) int {
	first := reads[0].Extent
	end := first.frameEnd()
	for n := 1; n < len(reads); n++ {
		e := reads[n].Extent
		near := e.Segment == first.Segment && e.Offset >= first.Offset &&
			(int64(e.Offset) <= end+maxReadGap) && e.frameEnd()-int64(first.Offset) <= maxHostRead
		if !near {
			return n
		}
		end = max(end, e.frameEnd())
	}
	return len(reads)
}

// frameEnd is the offset behind the extent's frame in its segment.
func (e Extent) frameEnd() int64 { return int64(e.Offset) + int64(e.Length) + seal.TagSize }

// readEach is Read that goes on past what can't be read: errs has what is wrong with
// each piece.
func (s *Store) readEach(ctx context.Context, reads []Read, errs []error) {
	for len(reads) > 0 {
		n := neighbours(reads)
		found, err := s.openRun(ctx, reads[:n])
		copy(errs, found)
		if err != nil {
			for i := range errs[:n] {
				errs[i] = err
			}
		}
		reads, errs = reads[n:], errs[n:]
	}
}

// readRun reads pieces that lie close together.
func (s *Store) readRun(ctx context.Context, reads []Read) error {
	errs, err := s.openRun(ctx, reads)
	if err != nil {
		return err
	}
	return errors.Join(errs...)
}

// openRun reads pieces that lie close together, in one call of the host; errs has what
// is wrong with the frame of each, and is nil if a cache had all.
func (s *Store) openRun(ctx context.Context, reads []Read) (errs []error, err error) {
	for _, r := range reads {
		if !r.Extent.valid() || uint64(r.Off)+uint64(len(r.Dst)) > uint64(r.Extent.Count) {
			return nil, fmt.Errorf("read %d bytes at %d of extent %+v: %w", len(r.Dst), r.Off, r.Extent, ErrDamaged)
		}
	}
	g := s.segment(reads[0].Extent.Segment)
	if g == nil {
		return nil, fmt.Errorf("segment %d is not in the volume: %w", reads[0].Extent.Segment, ErrDamaged)
	}
	if len(reads) == 1 && s.frames.read(reads[0]) {
		return nil, nil
	}
	from := int64(reads[0].Extent.Offset)
	end := from
	for _, r := range reads {
		end = max(end, r.Extent.frameEnd())
	}
	buf := takeReadBuffer(int(end - from))
	defer giveReadBuffer(buf)
	sealed := (*buf)[:end-from]
	if err := s.readSealed(ctx, g.id, from, sealed, reads); err != nil {
		return nil, err
	}
	return s.openAll(g, reads, from, sealed)
}

// openAll verifies the frames of a run, on all cores if there are many.
func (s *Store) openAll(g *segment, reads []Read, from int64, sealed []byte) ([]error, error) {
	k, err := s.key(g)
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(reads))
	each(len(reads), func(i int) {
		e := reads[i].Extent
		errs[i] = s.openInto(k, reads[i], sealed[int64(e.Offset)-from:e.frameEnd()-from])
	})
	return errs, nil
}

// openInto verifies one frame and fills the piece from it.
func (s *Store) openInto(k seal.SegmentKey, r Read, frame []byte) error {
	e := r.Extent
	whole := len(r.Dst) == int(e.Length)
	var dst []byte
	if whole {
		dst = r.Dst[:0:len(r.Dst)]
	} else {
		dst = make([]byte, 0, e.Length)
	}
	p, err := k.Open(dst, seal.FrameData, e.Offset, frame)
	if err != nil {
		return fmt.Errorf("segment %d, offset %d: data frame of %d bytes: %w", e.Segment, e.Offset, e.Length, ErrDamaged)
	}
	if !whole {
		copy(r.Dst, p[e.Start+r.Off:])
		s.frames.put(e, p)
	}
	return nil
}

// readSealed fills p, which begins at offset from of segment id, with the frames
// of reads: those of batches still in memory, and all before them from the host.
func (s *Store) readSealed(ctx context.Context, id host.SegmentID, from int64, p []byte, reads []Read) error {
	stored := s.readPending(id, from, p, reads)
	if stored == 0 {
		return nil
	}
	return s.readHost(ctx, id, from, p[:stored])
}

// readPending copies the frames that are still in memory into p, and returns how
// many bytes of p, from its start on, must come from the host. Only the frames
// asked for are touched: their neighbours may just be being sealed.
func (s *Store) readPending(id host.SegmentID, from int64, p []byte, reads []Read) (stored int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range reads {
		at, end := int64(r.Extent.Offset), r.Extent.frameEnd()
		if b := s.log.pending(id, at); b != nil {
			copy(p[at-from:end-from], b.buf[at-int64(b.start):end-int64(b.start)])
		} else {
			stored = max(stored, int(end-from))
		}
	}
	return stored
}

// pending returns the batch in memory that holds offset off of segment id, nil
// if there is none.
func (l *log) pending(id host.SegmentID, off int64) *batch {
	for _, b := range append(l.queue[:len(l.queue):len(l.queue)], l.open) {
		if b != nil && b.seg.id == id && off >= int64(b.start) && off < int64(b.start)+int64(b.used) {
			return b
		}
	}
	return nil
}

// readHost fills p from the host. Too little is damage, and too much is a lie.
func (s *Store) readHost(ctx context.Context, id host.SegmentID, off int64, p []byte) error {
	n, err := s.reader.Read(ctx, id, off, p)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || isNotFound(err):
		return fmt.Errorf("segment %d: %d of %d bytes at offset %d: %w", id, n, len(p), off, ErrDamaged)
	default:
		return fmt.Errorf("segment %d: read %d bytes at offset %d: %w", id, len(p), off, err)
	}
}

// readSome reads what there is of p and returns how much that was.
func (s *Store) readSome(ctx context.Context, id host.SegmentID, off int64, p []byte) int {
	n, _ := s.reader.Read(ctx, id, off, p) // whatever the cause, there is no more
	return min(max(n, 0), len(p))
}

// readFrame reads and opens one frame of length sealed bytes.
func (s *Store) readFrame(ctx context.Context, g *segment, t seal.FrameType, off, length uint32) ([]byte, error) {
	buf := takeReadBuffer(int(length))
	defer giveReadBuffer(buf)
	frame := (*buf)[:length]
	if err := s.readHost(ctx, g.id, int64(off), frame); err != nil {
		return nil, err
	}
	return s.openFrame(g, t, off, frame)
}

// openFrame verifies one frame. The plaintext never lies in memory that the host
// was given.
func (s *Store) openFrame(g *segment, t seal.FrameType, off uint32, frame []byte) ([]byte, error) {
	k, err := s.key(g)
	if err != nil {
		return nil, err
	}
	p, err := k.Open(nil, t, off, frame)
	if err != nil {
		return nil, fmt.Errorf("segment %d, offset %d: frame of %d bytes: %w", g.id, off, len(frame), ErrDamaged)
	}
	return p, nil
}

// readBuffers are for runs of frames.
var readBuffers = sync.Pool{New: func() any {
	b := make([]byte, maxHostRead)
	return &b
}}

// takeReadBuffer returns at least n bytes.
func takeReadBuffer(n int) *[]byte {
	b := readBuffers.Get().(*[]byte)
	if len(*b) < n {
		*b = make([]byte, n)
	}
	return b
}

func giveReadBuffer(b *[]byte) { readBuffers.Put(b) }

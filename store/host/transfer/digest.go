package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/point"
)

// Digest is SHA-256 over all of a point: two copies of a volume that have the same one
// are the same, byte by byte, wherever they are and whatever the point is called.
type Digest [sha256.Size]byte

func (d Digest) String() string { return "sha256:" + hex.EncodeToString(d[:]) }

// SegmentDigest is that of one segment's bytes.
type SegmentDigest struct {
	ID     host.SegmentID
	Size   int64
	SHA256 [sha256.Size]byte
}

const digestLabel = "coffer/v1/copy"

// combine makes the digest of a point of its records and its segments' digests
// (docs/format.md, "Digest").
func combine(records map[string][]byte, segments []SegmentDigest) (d Digest) {
	h := sha256.New()
	put := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
		h.Write(b)
	}
	put([]byte(digestLabel))
	for _, name := range slices.Sorted(maps.Keys(records)) {
		put([]byte(name))
		put(records[name])
	}
	for _, s := range segments {
		b := binary.BigEndian.AppendUint64(nil, uint64(s.ID))
		b = binary.BigEndian.AppendUint32(b, uint32(s.Size))
		put(append(b, s.SHA256[:]...))
	}
	return Digest(h.Sum(nil))
}

// segmentDigester is what a point has that can say what its segments' digests are
// without their bytes being read here.
type segmentDigester interface {
	SegmentDigest(ctx context.Context, id host.SegmentID) ([sha256.Size]byte, error)
}

// DigestOf reads all of a point, on all processors.
func DigestOf(ctx context.Context, p host.Point, progress func(bytes int64)) (Digest, error) {
	c := p.Contents()
	sums := make([]SegmentDigest, len(c.Segments))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		done    int64
	)
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for i := range next {
				s := c.Segments[i]
				sum, err := digestSegment(ctx, p, s)
				if err != nil {
					cancel(fmt.Errorf("segment %d: %w", s.ID, err))
					continue
				}
				sums[i] = SegmentDigest{s.ID, s.Size, sum}
				mu.Lock()
				if done += s.Size; progress != nil {
					progress(done)
				}
				mu.Unlock()
			}
		})
	}
	for i := range c.Segments {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	running.Wait()
	if ctx.Err() != nil {
		return Digest{}, fmt.Errorf("digest: %w", context.Cause(ctx))
	}
	return combine(c.Records, sums), nil
}

func digestSegment(ctx context.Context, p host.Point, s host.PointSegment) (sum [sha256.Size]byte, err error) {
	if d, ok := p.(segmentDigester); ok {
		return d.SegmentDigest(ctx, s.ID)
	}
	h, buf := sha256.New(), make([]byte, min(s.Size, MaxChunk))
	for off := int64(0); off < s.Size; {
		b := buf[:min(int64(len(buf)), s.Size-off)]
		if n, err := p.Read(ctx, s.ID, off, b); err != nil || n < len(b) {
			return sum, orShort(err)
		}
		h.Write(b)
		off += int64(len(b))
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// DigestOfStream reads a stream that is whole to its end, behind which nothing may be,
// and says of which point it is.
func DigestOfStream(ctx context.Context, r io.Reader) (m point.Manifest, d Digest, err error) {
	sink := &digestSink{h: sha256.New()}
	err = Receive(ctx, r, func(got point.Manifest, at point.Position) (Sink, error) {
		m, sink.m, sink.at = got, got, at
		if !m.Whole() || at != m.Start() {
			return nil, fmt.Errorf("it is since an earlier point, or goes on: only a whole one can be compared: %w", ErrPart)
		}
		return sink, nil
	})
	if err != nil {
		return m, d, err
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 || err == nil || !errors.Is(err, io.EOF) {
		return m, d, fmt.Errorf("there is something behind its end: %w", ErrStream)
	}
	sink.upTo(len(m.Segments))
	return m, combine(m.Records, sink.sums), nil
}

// digestSink hashes what it is given, segment by segment.
type digestSink struct {
	m    point.Manifest
	at   point.Position
	h    hash.Hash
	sums []SegmentDigest
}

func (s *digestSink) Write(ctx context.Context, p []byte) error {
	s.upTo(s.at.Segment)
	s.h.Write(p)
	s.at = s.m.After(s.at, int64(len(p)))
	return ctx.Err()
}

// upTo ends all segments before that one.
func (s *digestSink) upTo(index int) {
	for i := len(s.sums); i < index; i++ {
		g := s.m.Segments[i]
		s.sums = append(s.sums, SegmentDigest{g.ID, g.Size, [sha256.Size]byte(s.h.Sum(nil))})
		s.h.Reset()
	}
}

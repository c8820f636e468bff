package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/coffer-fs/coffer/store/host/point"
)

// The tables are in docs/format.md, "Stream".
const (
	streamMagic = "coffstrm"
	chunkMagic  = "chnk"
	doneMagic   = "done"
	// StreamVersion is that of the stream's format.
	StreamVersion = 1
	flagGoesOn    = 1

	headSize  = 32
	chunkHead = 24
	endSize   = 40
	// MaxChunk is the most that is in one chunk, in bytes.
	MaxChunk = 1 << 20

	headsLabel = "coffer/v1/stream"
)

// newHeads hashes all heads of a stream, of which the end has the sum: so none was
// left out, added or put elsewhere.
func newHeads() hash.Hash {
	h := sha256.New()
	h.Write([]byte(headsLabel))
	return h
}

// appendHead encodes a stream's head, with its manifest.
func appendHead(b []byte, m point.Manifest, at point.Position) []byte {
	manifest := m.Append(nil)
	from := len(b)
	b = append(b, streamMagic...)
	b = binary.BigEndian.AppendUint16(b, StreamVersion)
	flags := uint16(0)
	if at != m.Start() {
		flags = flagGoesOn
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint32(b, uint32(len(manifest)))
	b = binary.BigEndian.AppendUint32(b, point.Checksum(manifest))
	b = binary.BigEndian.AppendUint32(b, uint32(at.Segment))
	b = binary.BigEndian.AppendUint32(b, uint32(at.Offset))
	b = binary.BigEndian.AppendUint32(b, point.Checksum(b[from:]))
	return append(b, manifest...)
}

// appendChunkHead encodes what stands before the bytes of a chunk.
func appendChunkHead(b []byte, c chunk, sum uint32) []byte {
	from := len(b)
	b = append(b, chunkMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(c.at.Segment))
	b = binary.BigEndian.AppendUint32(b, uint32(c.at.Offset))
	b = binary.BigEndian.AppendUint32(b, uint32(c.size))
	b = binary.BigEndian.AppendUint32(b, sum)
	return binary.BigEndian.AppendUint32(b, point.Checksum(b[from:]))
}

// appendEnd encodes the end.
func appendEnd(b []byte, heads hash.Hash) []byte {
	return heads.Sum(append(b, doneMagic+"\x00\x00\x00\x00"...))
}

// StreamBytes is how long the stream of m from a position on is.
func StreamBytes(m point.Manifest, at point.Position) int64 {
	n := int64(headSize+len(m.Append(nil))) + endSize + m.Bytes() - m.Done(at)
	for ; at.Segment < len(m.Segments); at = m.After(at, m.Left(at)) {
		n += (m.Left(at) + MaxChunk - 1) / MaxChunk * chunkHead
	}
	return n
}

// stream reads a stream.
type stream struct {
	r     io.Reader
	heads hash.Hash
	m     point.Manifest
	at    point.Position
}

// defect is an error of what was read, told by the place in the stream's transfer.
func (s *stream) defect(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrStream, fmt.Sprintf(format, args...))
}

// fill reads all of p. ErrCut if the stream ends before.
func (s *stream) fill(p []byte) error {
	_, err := io.ReadFull(s.r, p)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("after segment %d, byte %d: %w", s.at.Segment, s.at.Offset, ErrCut)
	}
	return err
}

// openStream reads the head and the manifest.
func openStream(r io.Reader) (*stream, error) {
	s := &stream{r: r, heads: newHeads()}
	head := make([]byte, headSize)
	if err := s.fill(head); err != nil {
		return nil, err
	}
	if string(head[:8]) != streamMagic {
		return nil, s.defect("it does not begin as one")
	}
	if v := binary.BigEndian.Uint16(head[8:]); v != StreamVersion {
		return nil, s.defect("version %d, where %d is known", v, StreamVersion)
	}
	size := binary.BigEndian.Uint32(head[12:])
	if binary.BigEndian.Uint32(head[28:]) != point.Checksum(head[:28]) || size > point.MaxSize {
		return nil, s.defect("its head is damaged")
	}
	b, err := readBounded(s, int(size))
	if err != nil {
		return nil, err
	}
	if point.Checksum(b) != binary.BigEndian.Uint32(head[16:]) {
		return nil, s.defect("its manifest is damaged")
	}
	if s.m, err = point.Parse(b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStream, err)
	}
	s.at = point.Position{Segment: int(binary.BigEndian.Uint32(head[20:])), Offset: int64(binary.BigEndian.Uint32(head[24:]))}
	goesOn := s.m.Has(s.at) && s.at != s.m.Start()
	flags := binary.BigEndian.Uint16(head[10:])
	if !s.m.Has(s.at) || flags > flagGoesOn || goesOn != (flags == flagGoesOn) || !s.m.Expires.IsZero() {
		return nil, s.defect("it goes on at segment %d, byte %d", s.at.Segment, s.at.Offset)
	}
	s.heads.Write(head)
	s.heads.Write(b)
	return s, nil
}

// readBounded reads size bytes, and takes memory for no more than come.
func readBounded(s *stream, size int) (b []byte, err error) {
	for len(b) < size {
		n := min(size-len(b), MaxChunk)
		b = append(b, make([]byte, n)...)
		if err := s.fill(b[len(b)-n:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// next reads the next chunk into p. done: there is none, and the end was right.
func (s *stream) next(p []byte) (b []byte, done bool, err error) {
	head := make([]byte, chunkHead)
	if err := s.fill(head); err != nil {
		return nil, false, err
	}
	switch string(head[:4]) {
	case doneMagic:
		return nil, true, s.end(head)
	case chunkMagic:
	default:
		return nil, false, s.defect("there is no chunk after segment %d, byte %d", s.at.Segment, s.at.Offset)
	}
	at := point.Position{Segment: int(binary.BigEndian.Uint32(head[4:])), Offset: int64(binary.BigEndian.Uint32(head[8:]))}
	size, sum := binary.BigEndian.Uint32(head[12:]), binary.BigEndian.Uint32(head[16:])
	if binary.BigEndian.Uint32(head[20:]) != point.Checksum(head[:20]) {
		return nil, false, s.defect("the head of a chunk is damaged after segment %d, byte %d", s.at.Segment, s.at.Offset)
	}
	if at != s.at || size == 0 || size > MaxChunk || int64(size) > s.m.Left(at) {
		return nil, false, s.defect("a chunk of %d bytes for segment %d, byte %d stands where one for segment %d, byte %d should",
			size, at.Segment, at.Offset, s.at.Segment, s.at.Offset)
	}
	b = p[:size]
	if err := s.fill(b); err != nil {
		return nil, false, err
	}
	if point.Checksum(b) != sum {
		return nil, false, s.defect("the chunk of segment %d, byte %d is damaged", at.Segment, at.Offset)
	}
	s.heads.Write(head)
	s.at = s.m.After(at, int64(size))
	return b, false, nil
}

// end checks the end, of which a chunk's head was read.
func (s *stream) end(head []byte) error {
	b := append(head, make([]byte, endSize-chunkHead)...)
	if err := s.fill(b[chunkHead:]); err != nil {
		return err
	}
	if s.at != s.m.End() {
		return s.defect("it ends before segment %d, byte %d has come", s.at.Segment, s.at.Offset)
	}
	if string(b) != string(appendEnd(nil, s.heads)) {
		return s.defect("its end is not that of what came before")
	}
	return nil
}

// Begin says where a stream goes: given its manifest and the position at which it
// begins, it returns the sink, which is to be there.
type Begin func(m point.Manifest, at point.Position) (Sink, error)

// Receive reads a stream to its end, and nothing behind. After ErrCut, and after an
// ErrStream, what the sink was given is good.
func Receive(ctx context.Context, r io.Reader, begin Begin) error {
	s, err := openStream(r)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	to, err := begin(s.m, s.at)
	if err != nil {
		return err
	}
	if err := s.pump(ctx, to); err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	return nil
}

// pump reads chunks while those before are being written.
func (s *stream) pump(ctx context.Context, to Sink) error {
	const ahead = 3
	free, full, written := make(chan []byte, ahead), make(chan []byte, ahead), make(chan error, 1)
	for range ahead {
		free <- make([]byte, MaxChunk)
	}
	go func() {
		var err error
		for b := range full {
			if err == nil {
				err = to.Write(ctx, b)
			}
			if err != nil {
				select {
				case written <- err:
				default:
				}
			}
			free <- b[:MaxChunk]
		}
		close(written)
	}()
	err := s.chunks(free, full, written)
	close(full)
	for writeErr := range written {
		err = writeErr // it came first
	}
	return err
}

func (s *stream) chunks(free, full chan []byte, written chan error) error {
	for {
		select {
		case err := <-written:
			return err
		case p := <-free:
			b, done, err := s.next(p)
			if err != nil || done {
				return err
			}
			full <- b
		}
	}
}

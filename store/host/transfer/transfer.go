// Package transfer carries points of volumes: as a stream of bytes through a pipe, a
// file or ssh (docs/format.md, "Stream"), or from one host to another; and compares
// copies. It needs no key, and gives none of the promises that a key gives: what comes
// is checked against accidents, and whether it is authentic is found out by the enclave
// that opens it.
//
// Reading a stream never trusts it: sizes are compared with their limits before
// anything is read, every byte has one place, and what comes out of order, twice or
// beyond its place is refused. Memory is a few chunks and the manifest.
//
// Imports store/host and store/host/point. For the host's side; nothing that an enclave
// links imports it.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/point"
)

// When receiving.
var (
	// ErrStream: the bytes are no stream, or one with a defect.
	ErrStream = errors.New("not a whole and sound stream")
	// ErrCut: the stream ends before its end. What came is good.
	ErrCut = errors.New("the stream was cut off")
	// ErrPosition: the stream begins behind the place up to which the receiver has
	// come.
	ErrPosition = errors.New("the stream goes on at another place than the transfer was cut off")
)

// ErrPart: a stream is not of all of a point, so that it can't be compared.
var ErrPart = errors.New("the stream is a part")

// When sending.
var (
	// ErrToken: a resume token is not for what is there to be sent.
	ErrToken = errors.New("the resume token does not fit what is here")
)

// Sink is where a transfer goes.
type Sink interface {
	// Write puts the next bytes, which lie in one segment.
	Write(ctx context.Context, p []byte) error
}

// filer is what a point has whose segments are files.
type filer interface {
	SegmentFile(ctx context.Context, id host.SegmentID) (*os.File, error)
}

// chunk is a part of one segment.
type chunk struct {
	at   point.Position
	id   host.SegmentID
	size int64
}

// chunkAt is the chunk of a transfer that begins at a position.
func chunkAt(m point.Manifest, at point.Position) chunk {
	size := min(m.Left(at), MaxChunk)
	if size == 0 {
		return chunk{at: at}
	}
	return chunk{at, m.Segments[at.Segment].ID, size}
}

// Resume is the position at which a token lets a transfer of m go on.
func Resume(m point.Manifest, t point.Token) (point.Position, error) {
	if want := m.Token(t.At); want != t || !m.Has(t.At) {
		return t.At, fmt.Errorf("it is for another manifest, or for a position that this one does not have: %w", ErrToken)
	}
	return t.At, nil
}

package mail

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// body reads what sealBody wrote. It gives out nothing that is not verified, and
// its first error is its last.
type body struct {
	chunks
	in     *bufio.Reader
	plain  []byte // buffer
	ready  []byte // verified, not yet read
	padded bool   // padding has begun
	err    error
}

// openBody opens the first chunk.
func openBody(r io.Reader, c chunks) (*body, error) {
	b := &body{chunks: c, in: bufio.NewReaderSize(r, sealedChunk+1), plain: make([]byte, 0, chunkSize)}
	b.next()
	if b.err == io.EOF {
		return b, nil
	}
	return b, b.err
}

// Read implements io.Reader. io.EOF means that the mail is whole.
func (b *body) Read(p []byte) (int, error) {
	for len(b.ready) == 0 && b.err == nil {
		b.next()
	}
	if len(b.ready) == 0 {
		return 0, b.err
	}
	n := copy(p, b.ready)
	b.ready = b.ready[n:]
	return n, nil
}

// next opens one chunk. Whether it is the last is told by whether bytes follow
// it, and verified by its nonce.
func (b *body) next() {
	sealed, err := b.in.Peek(sealedChunk + 1)
	last := err == io.EOF
	if err != nil && !last {
		b.err = err
		return
	}
	sealed = sealed[:min(len(sealed), sealedChunk)]
	if b.ready, b.err = b.open(sealed, last); b.err != nil {
		return
	}
	if _, b.err = b.in.Discard(len(sealed)); b.err == nil && last {
		b.err = io.EOF
	}
}

func (b *body) open(sealed []byte, last bool) ([]byte, error) {
	index := b.count
	nonce, err := b.nonce(last)
	if err != nil {
		return nil, err
	}
	p, err := b.aead.Open(b.plain, nonce, sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: chunk %d", ErrDamaged, index)
	}
	data, err := b.parse(p, index)
	if err != nil {
		return nil, fmt.Errorf("%w: chunk %d: %w", ErrDamaged, index, err)
	}
	return data, nil
}

// parse returns the data of a chunk. What it refuses is a sender's mistake.
func (b *body) parse(p []byte, index uint64) ([]byte, error) {
	if len(p) < chunkPrefix || len(p) == chunkPrefix && index != 0 {
		return nil, fmt.Errorf("it has %d bytes", len(p))
	}
	size, rest := binary.BigEndian.Uint32(p), p[chunkPrefix:]
	if uint64(size) > uint64(len(rest)) || size != 0 && b.padded {
		return nil, fmt.Errorf("it cannot have data of %d bytes", size)
	}
	for _, zero := range rest[size:] {
		if zero != 0 {
			return nil, fmt.Errorf("its padding is not zero")
		}
	}
	b.padded = b.padded || int(size) < len(rest)
	return rest[:size], nil
}

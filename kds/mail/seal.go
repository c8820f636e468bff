package mail

import (
	"bufio"
	"encoding/binary"
	"io"
)

// sealBody writes the chunks of everything in body. At its end, and not before,
// minSize is asked how large it should look. If body or w fails, what was
// written has no last chunk, and nobody takes it for a whole mail.
func sealBody(w io.Writer, c chunks, body io.Reader, minSize func(int64) int64) error {
	s := sealer{chunks: c, w: w, plain: make([]byte, chunkSize), sealed: make([]byte, 0, sealedChunk)}
	in := bufio.NewReaderSize(body, ChunkBytes+1)
	for size := int64(0); ; size += ChunkBytes {
		data, err := in.Peek(ChunkBytes + 1) // one more, to know whether it ends
		if err == io.EOF {
			size += int64(len(data))
			return s.end(data, padding(size, minSize(size)))
		} else if err != nil {
			return err
		}
		if err := s.seal(data[:ChunkBytes], 0, false); err != nil {
			return err
		}
		if _, err := in.Discard(ChunkBytes); err != nil {
			return err
		}
	}
}

// sealer writes chunks.
type sealer struct {
	chunks
	w             io.Writer
	plain, sealed []byte // buffers
}

// end writes the last data, and as many zeros as are wanted.
func (s *sealer) end(data []byte, pad int64) error {
	for {
		now := min(pad, int64(ChunkBytes-len(data)))
		pad -= now
		if err := s.seal(data, int(now), pad == 0); err != nil || pad == 0 {
			return err
		}
		data = nil
	}
}

// seal writes one chunk of data and pad zeros.
func (s *sealer) seal(data []byte, pad int, last bool) error {
	nonce, err := s.nonce(last)
	if err != nil {
		return err
	}
	p := s.plain[:chunkPrefix+len(data)+pad]
	binary.BigEndian.PutUint32(p, uint32(len(data)))
	copy(p[chunkPrefix:], data)
	clear(p[chunkPrefix+len(data):])
	_, err = s.w.Write(s.aead.Seal(s.sealed, nonce, p, nil))
	return err
}

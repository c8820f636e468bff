package mail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// readFull fills b. A mail that ends before is damaged; other errors of the
// reader are passed on.
func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrDamaged)
	}
	return err
}

// parseList splits {label, parts...}, to its last byte. The parts share b.
func parseList(b []byte, label string, count int) ([][]byte, error) {
	parts := make([][]byte, 0, count+1)
	for range count + 1 {
		if len(b) < 4 {
			return nil, fmt.Errorf("%w: header lacks a part", ErrDamaged)
		}
		size := binary.BigEndian.Uint32(b)
		if uint64(size) > uint64(len(b)-4) {
			return nil, fmt.Errorf("%w: a part of the header goes past its end", ErrDamaged)
		}
		parts, b = append(parts, b[4:4+size]), b[4+size:]
	}
	if len(b) != 0 || string(parts[0]) != label {
		return nil, fmt.Errorf("%w: header has another label, or more parts", ErrDamaged)
	}
	return parts[1:], nil
}

package dcap

import (
	"encoding/binary"
	"fmt"
)

// reader takes little-endian fields off bytes and remembers the first that was
// not there.
type reader struct {
	rest    []byte
	missing string
}

// take returns the next n bytes, or none after a failure.
func (r *reader) take(field string, n int) []byte {
	if r.missing != "" || n < 0 || n > len(r.rest) {
		r.fail(field)
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) fail(field string) {
	if r.missing == "" {
		r.missing = field
	}
}

func (r *reader) u16(field string) uint16 {
	if b := r.take(field, 2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32(field string) uint32 {
	if b := r.take(field, 4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// sized returns the bytes that n announces.
func (r *reader) sized(field string, n uint32) []byte {
	if uint64(n) > uint64(len(r.rest)) {
		r.fail(field)
		return nil
	}
	return r.take(field, int(n))
}

// end is nil if every field was there and nothing is left.
func (r *reader) end(what string) error {
	switch {
	case r.missing != "":
		return fmt.Errorf("%w: %s ends before its %s does", ErrQuote, what, r.missing)
	case len(r.rest) != 0:
		return fmt.Errorf("%w: %d bytes follow the %s", ErrQuote, len(r.rest), what)
	}
	return nil
}

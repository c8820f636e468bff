// Package lists reads the lists that key.Info writes: a label and parts, each
// behind its length (docs/protocol.md, "Conventions").
//
// It promises that a list has one reading, to its last byte, and that parts are
// copies. The caller bounds the size of what it passes.
//
// Imported by kds/cluster and what lies below it. Imports nothing of ours.
package lists

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed: the bytes are not the list that was asked for.
var ErrMalformed = errors.New("malformed list")

// Parse reads a list with a label and so many parts.
func Parse(b []byte, label string, parts int) ([][]byte, error) {
	all, err := All(b, label, parts)
	if err == nil && len(all) != parts {
		err = fmt.Errorf("%w: %q ends early", ErrMalformed, label)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// All reads a list with a label and at most so many parts.
func All(b []byte, label string, most int) ([][]byte, error) {
	head, rest, ok := next(b)
	if !ok || string(head) != label {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrMalformed, label)
	}
	var parts [][]byte
	for len(rest) > 0 {
		if len(parts) == most {
			return nil, fmt.Errorf("%w: something follows the end of %q", ErrMalformed, label)
		}
		var part []byte
		if part, rest, ok = next(rest); !ok {
			return nil, fmt.Errorf("%w: part %d of %q is cut off", ErrMalformed, len(parts), label)
		}
		parts = append(parts, bytes.Clone(part))
	}
	return parts, nil
}

func next(b []byte) (part, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// U32 reads a number of 32 bits.
func U32(b []byte) (uint32, error) {
	if len(b) != 4 {
		return 0, fmt.Errorf("%w: a number has %d bytes, want 4", ErrMalformed, len(b))
	}
	return binary.BigEndian.Uint32(b), nil
}

// U64 reads a number of 64 bits.
func U64(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: a number has %d bytes, want 8", ErrMalformed, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}

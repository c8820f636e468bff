package attest

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Hash is a code or signer hash: 64 or 128 upper-case hexadecimal digits
// (SHA-256 or SHA-512). The empty Hash is invalid.
type Hash string

// ParseHash reads a hash in either case.
func ParseHash(s string) (Hash, error) {
	h := Hash(strings.ToUpper(s))
	if len(s) != 64 && len(s) != 128 {
		return "", fmt.Errorf("%w: %d characters, want 64 or 128", ErrHash, len(s))
	}
	if !h.Valid() {
		return "", fmt.Errorf("%w: not hexadecimal", ErrHash)
	}
	return h, nil
}

// HashFromBytes is the hash with these bytes, 32 or 64 of them.
func HashFromBytes(b []byte) (Hash, error) { return ParseHash(hex.EncodeToString(b)) }

// Valid reports whether h has the right length and digits.
func (h Hash) Valid() bool {
	if len(h) != 64 && len(h) != 128 {
		return false
	}
	for _, c := range []byte(h) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// Bytes are the hash's bytes; none if it is invalid.
func (h Hash) Bytes() []byte {
	b, err := hex.DecodeString(string(h))
	if err != nil {
		return nil
	}
	return b
}

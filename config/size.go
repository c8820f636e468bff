package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Sizes of a filesystem, in bytes.
const (
	MinFileSystemSize             = 8 << 20
	MaxFileSystemSize             = 8 << 40
	DefaultInMemoryFileSystemSize = 64 << 20
)

// ParseSize reads a number of bytes with an optional suffix k, m, g or t in
// either case, which are powers of 1024.
func ParseSize(s string) (int64, error) {
	digits, shift := s, 0
	if s != "" {
		if i := strings.IndexByte("kmgt", s[len(s)-1]|0x20); i >= 0 {
			digits, shift = s[:len(s)-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 62-shift)
	if err != nil {
		return 0, fmt.Errorf("%w %q: it is a number of bytes, with k, m, g or t for powers of 1024", ErrSize, s[:min(len(s), 40)])
	}
	return int64(n) << shift, nil
}

package host

import "fmt"

// CheckRecord refuses names and values outside the limits, for
// implementations to call before they act.
func CheckRecord(name string, value []byte) error {
	if len(name) == 0 || len(name) > MaxRecordName {
		return fmt.Errorf("record name of %d bytes: %w", len(name), ErrInvalid)
	}
	for i := range len(name) {
		c := name[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return fmt.Errorf("record name %q: %w", name, ErrInvalid)
		}
	}
	if len(value) > MaxRecordSize {
		return fmt.Errorf("record %q of %d bytes: %w", name, len(value), ErrInvalid)
	}
	return nil
}

// CheckSegment refuses numbers and ranges outside the limits, for
// implementations to call before they act.
func CheckSegment(id SegmentID, off int64, size int) error {
	if id == 0 || id > MaxSegmentID {
		return fmt.Errorf("segment %d: %w", id, ErrInvalid)
	}
	if off < 0 || off > MaxSegmentSize || int64(size) > MaxSegmentSize-off {
		return fmt.Errorf("segment %d: range of %d bytes at %d: %w", id, size, off, ErrInvalid)
	}
	return nil
}

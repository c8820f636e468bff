package fs

import "sync"

// What fuzzing and the test of docs/format-fs.md reach behind the API for.

// RoundTripInode decodes an inode item and encodes it again.
func RoundTripInode(b []byte) ([]byte, error) {
	n, err := parseInode(b)
	return n.encode(), err
}

// RoundTripSuper is RoundTripInode for the superblock.
func RoundTripSuper(b []byte) ([]byte, error) {
	s, err := parseSuper(b)
	return s.encode(), err
}

// RoundTripEntries is RoundTripInode for the entries of one item.
func RoundTripEntries(b []byte) ([]byte, error) {
	es, err := parseEntries(b)
	return encodeEntries(es), err
}

// ParseXattr decodes the first part of an extended attribute.
func ParseXattr(b []byte) (name string, size int, rest []byte, err error) { return parseXattr(b) }

// ParseACL decodes an access control list, and returns the mode it comes to and
// the list after a chmod to the same mode.
func ParseACL(b []byte) (mode uint32, same []byte, err error) {
	a, err := parseACL(b)
	if err != nil {
		return 0, nil, err
	}
	return a.mode(), a.withMode(a.mode()), nil
}

// HashName is the hash of a name under a key.
func HashName(key [16]byte, name string) uint64 {
	return (&Tree{hashKey: key, hashes: new(sync.Pool)}).hash(name)
}

// AheadBytes is how much all handles may have read ahead.
func AheadBytes(f *FS) int64 { return f.tree.ahead.Load() }

package tree

import (
	"cmp"
	"encoding/binary"
	"fmt"
)

// KeySize is the length of an encoded Key in bytes.
const KeySize = 17

// MaxValue is the largest value of an item, in bytes.
const MaxValue = 3 << 10

// Key places an item in the one ordered map of a volume: first by object,
// then by type, then by what the type counts by (an offset, a hash, an index).
// The store gives no meaning to objects; it knows one type, the extent.
type Key struct {
	Object uint64
	Type   uint8
	Sub    uint64
}

// Compare orders keys as their encodings are ordered.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.Object, o.Object); c != 0 {
		return c
	}
	if c := cmp.Compare(k.Type, o.Type); c != 0 {
		return c
	}
	return cmp.Compare(k.Sub, o.Sub)
}

// Less reports whether k comes before o.
func (k Key) Less(o Key) bool { return k.Compare(o) < 0 }

// Next is the smallest key after k; ok is false after the last key of all.
func (k Key) Next() (next Key, ok bool) {
	if k.Sub++; k.Sub != 0 {
		return k, true
	}
	if k.Type++; k.Type != 0 {
		return k, true
	}
	k.Object++
	return k, k.Object != 0
}

// Append encodes k (docs/format.md, "Items").
func (k Key) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, k.Object)
	b = append(b, k.Type)
	return binary.BigEndian.AppendUint64(b, k.Sub)
}

// DecodeKey reads the first KeySize bytes of b, which must be there.
func DecodeKey(b []byte) Key {
	return Key{
		Object: binary.BigEndian.Uint64(b),
		Type:   b[8],
		Sub:    binary.BigEndian.Uint64(b[9:KeySize]),
	}
}

func (k Key) String() string { return fmt.Sprintf("%d/%d/%d", k.Object, k.Type, k.Sub) }

package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode"
	"unicode/utf8"
)

// Keys of users of the store lie below these limits. What is above them is the
// store's own: docs/format.md, "Snapshots".
const (
	// MaxObject is the largest object number.
	MaxObject = 1<<objectBits - 1
	// MaxType is the largest item type.
	MaxType = absent - 1

	objectBits = 48
	absent     = 0x80 // of a type, in a snapshot's layer: the item was not there

	ownObject    = 0xffff << objectBits // the store's own items
	typeSnapshot = 1                    // of ownObject; Sub: the snapshot's layer
)

// layer numbers the part of the map that keeps what changed after a snapshot.
// Numbers are used again.
type layer uint16

// key is the place of k in the layer.
func (l layer) key(k Key) Key {
	k.Object |= uint64(l) << objectBits
	return k
}

// absentKey is the place that says that k, or data that ends at it, was not there.
func (l layer) absentKey(k Key) Key {
	k = l.key(k)
	k.Type |= absent
	return k
}

func (l layer) recordKey() Key { return Key{Object: ownObject, Type: typeSnapshot, Sub: uint64(l)} }

// first and end enclose everything in the layer.
func (l layer) first() Key { return Key{Object: uint64(l) << objectBits} }
func (l layer) end() Key   { return (l + 1).first() }

// usersEnd is behind the keys of users; lastKey is the last one that there can be,
// and not used.
var (
	usersEnd = layer(0).end()
	lastKey  = Key{Object: math.MaxUint64, Type: math.MaxUint8, Sub: math.MaxUint64}
)

// splitKey tells which layer a key of the map is in, 0 being the present state,
// and which key it stands for there.
func splitKey(k Key) (l layer, plain Key, gone bool) {
	l, gone = layer(k.Object>>objectBits), k.Type&absent != 0
	k.Object &= MaxObject
	k.Type &^= absent
	return l, k, gone
}

// checkUserKey refuses keys that are the store's own.
func checkUserKey(k Key) error {
	if k.Object > MaxObject || k.Type > MaxType {
		return fmt.Errorf("item %v: objects are at most %d and types at most %d: %w", k, uint64(MaxObject), MaxType, ErrTooLarge)
	}
	return nil
}

// MaxSnapshots is how many snapshots a volume has at most, those being deleted
// included: as many layers may have to be looked at to read the oldest.
const MaxSnapshots = 256

// MaxSnapshotName is the longest name of a snapshot, in bytes.
const MaxSnapshotName = 255

// CheckSnapshotName refuses what is no name for a snapshot: it is 1..255 bytes of
// UTF-8 that can be printed, without a slash, and does not begin with a dot or a
// hyphen.
func CheckSnapshotName(name string) error {
	bad := name == "" || len(name) > MaxSnapshotName || !utf8.ValidString(name) || name[0] == '.' || name[0] == '-'
	for _, r := range name {
		bad = bad || r == '/' || !unicode.IsPrint(r)
	}
	if bad {
		return fmt.Errorf("%q: %w", name, ErrSnapshotName)
	}
	return nil
}

// snapshot is one in memory. It is not changed.
type snapshot struct {
	layer    layer
	deleting bool
	sequence uint64 // orders them; grows with each
	time     int64  // ns since 1970
	objects  uint64 // the least object number that did not exist
	bytes    uint64 // in use when it was taken
	name     string
}

const snapshotFixedSize = 1 + 8 + 8 + 8 + 8

const snapshotDeleting = 1 // flag

// encode encodes a snapshot's record (docs/format.md, "Snapshots").
func (p *snapshot) encode() []byte {
	b := make([]byte, 0, snapshotFixedSize+len(p.name))
	var flags byte
	if p.deleting {
		flags |= snapshotDeleting
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, p.sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(p.time))
	b = binary.BigEndian.AppendUint64(b, p.objects)
	b = binary.BigEndian.AppendUint64(b, p.bytes)
	return append(b, p.name...)
}

// parseSnapshot checks and decodes a record. ErrDamaged.
func parseSnapshot(k Key, b []byte) (*snapshot, error) {
	if k.Sub == 0 || k.Sub > MaxSnapshots || len(b) < snapshotFixedSize || b[0] > snapshotDeleting {
		return nil, fmt.Errorf("record of snapshot %d, %d bytes: %w", k.Sub, len(b), ErrDamaged)
	}
	p := &snapshot{
		layer: layer(k.Sub), deleting: b[0] == snapshotDeleting,
		sequence: binary.BigEndian.Uint64(b[1:]),
		time:     int64(binary.BigEndian.Uint64(b[9:])),
		objects:  binary.BigEndian.Uint64(b[17:]),
		bytes:    binary.BigEndian.Uint64(b[25:]),
		name:     string(b[snapshotFixedSize:]),
	}
	if err := CheckSnapshotName(p.name); err != nil {
		return nil, fmt.Errorf("record of snapshot %d: %w: %w", k.Sub, err, ErrDamaged)
	}
	if p.sequence == 0 || p.objects > MaxObject+1 || p.bytes > math.MaxInt64 {
		return nil, fmt.Errorf("record of snapshot %d: sequence %d, %d objects, %d bytes: %w", k.Sub, p.sequence, p.objects, p.bytes, ErrDamaged)
	}
	return p, nil
}

package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/coffer-fs/coffer/store/host"
)

// MaxNode is the most plaintext a node encodes to, in bytes: with its tag a
// frame of 16 KiB.
const MaxNode = 16<<10 - 16

const (
	nodeFixed = 3 // level, count
	itemFixed = KeySize + 2
	kidSize   = KeySize + PtrSize
	// PtrSize is the length of an encoded Ptr in bytes.
	PtrSize = 16
	// MaxLevel bounds the height of a tree. With at least two children a node
	// no tree of 2^63 items comes near it.
	MaxLevel = 24
)

// ErrDamaged is returned for a node whose bytes make no sense. A frame that
// was not verified never gets this far, so it means a defect, not an attack.
var ErrDamaged = errors.New("tree node makes no sense")

// Ptr is the place of a sealed node. The zero Ptr is no place.
type Ptr struct {
	Segment host.SegmentID
	Offset  uint32
	Length  uint32 // of the frame, tag included
}

// Append encodes p (docs/format.md, "Node").
func (p Ptr) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(p.Segment))
	b = binary.BigEndian.AppendUint32(b, p.Offset)
	return binary.BigEndian.AppendUint32(b, p.Length)
}

// DecodePtr reads the first PtrSize bytes of b, which must be there.
func DecodePtr(b []byte) Ptr {
	return Ptr{
		Segment: host.SegmentID(binary.BigEndian.Uint64(b)),
		Offset:  binary.BigEndian.Uint32(b[8:]),
		Length:  binary.BigEndian.Uint32(b[12:]),
	}
}

// Item is one entry of the map.
type Item struct {
	Key   Key
	Value []byte
}

// kid is a child of an inner node: all its keys are at or above key.
type kid struct {
	key Key
	ref *ref
}

// ref refers to a node: in memory while the node is not written, by place
// afterwards. Copies of an inner node share the refs of their children, so
// that writing a node makes it clean for all of them at once.
type ref struct {
	node atomic.Pointer[node] // nil once ptr is set
	ptr  Ptr                  // set once, before node becomes nil
}

// node is a leaf (level 0, items) or an inner node (kids). It may be changed
// only while its epoch is the tree's; all others are shared and constant.
type node struct {
	level uint8
	epoch uint64
	size  int // encoded bytes
	items []Item
	kids  []kid
	last  int // index of the entry added last
	run   int // how many entries before it were added in sequence
}

func newLeaf(epoch uint64) *node { return &node{epoch: epoch, size: nodeFixed} }

func (n *node) clone(epoch uint64) *node {
	c := &node{level: n.level, epoch: epoch, size: n.size}
	// Room for one more, since a copy is made to be changed.
	c.items = append(make([]Item, 0, len(n.items)+1), n.items...)
	c.kids = append(make([]kid, 0, len(n.kids)+1), n.kids...)
	return c
}

// count is the number of entries.
func (n *node) count() int { return len(n.items) + len(n.kids) }

// memory estimates what the node holds in memory, in bytes.
func (n *node) memory() int { return 128 + n.size + 48*len(n.items) + 80*len(n.kids) }

// find returns the index of k among the items, or where it would stand.
func (n *node) find(k Key) (int, bool) {
	return slices.BinarySearchFunc(n.items, k, func(i Item, k Key) int { return i.Key.Compare(k) })
}

// kidFor returns the index of the child whose range holds k.
func (n *node) kidFor(k Key) int {
	i, found := slices.BinarySearchFunc(n.kids, k, func(c kid, k Key) int { return c.key.Compare(k) })
	if found {
		return i
	}
	return max(i-1, 0)
}

// encode appends the node (docs/format.md, "Node"). All children are written.
func (n *node) encode(b []byte) []byte {
	b = append(b, n.level)
	b = binary.BigEndian.AppendUint16(b, uint16(n.count()))
	for _, it := range n.items {
		b = it.Key.Append(b)
		b = binary.BigEndian.AppendUint16(b, uint16(len(it.Value)))
		b = append(b, it.Value...)
	}
	for _, c := range n.kids {
		b = c.key.Append(b)
		b = c.ref.ptr.Append(b)
	}
	return b
}

// decode reads a node, which must have the given level and fill b. The node
// keeps b. ErrDamaged.
func decode(b []byte, level uint8) (*node, error) {
	if len(b) < nodeFixed || len(b) > MaxNode || b[0] != level {
		return nil, fmt.Errorf("%d bytes, level %d expected: %w", len(b), level, ErrDamaged)
	}
	n := &node{level: level, size: len(b)}
	count := int(binary.BigEndian.Uint16(b[1:]))
	var err error
	if level == 0 {
		err = n.decodeItems(b[nodeFixed:], count)
	} else {
		err = n.decodeKids(b[nodeFixed:], count)
	}
	return n, err
}

func (n *node) decodeItems(b []byte, count int) error {
	if count > len(b)/itemFixed {
		return fmt.Errorf("%d items: %w", count, ErrDamaged)
	}
	n.items = make([]Item, count)
	for i := range n.items {
		if len(b) < itemFixed {
			return fmt.Errorf("item %d cut off: %w", i, ErrDamaged)
		}
		k := DecodeKey(b)
		size := int(binary.BigEndian.Uint16(b[KeySize:]))
		b = b[itemFixed:]
		if size > len(b) || i > 0 && !n.items[i-1].Key.Less(k) {
			return fmt.Errorf("item %d: %w", i, ErrDamaged)
		}
		n.items[i] = Item{k, b[:size:size]}
		b = b[size:]
	}
	if len(b) != 0 {
		return fmt.Errorf("%d bytes behind the items: %w", len(b), ErrDamaged)
	}
	return nil
}

func (n *node) decodeKids(b []byte, count int) error {
	if count == 0 || len(b) != count*kidSize {
		return fmt.Errorf("%d children in %d bytes: %w", count, len(b), ErrDamaged)
	}
	refs := make([]ref, count)
	n.kids = make([]kid, count)
	for i := range n.kids {
		k := DecodeKey(b)
		if i > 0 && !n.kids[i-1].key.Less(k) {
			return fmt.Errorf("child %d: %w", i, ErrDamaged)
		}
		refs[i].ptr = DecodePtr(b[KeySize:])
		n.kids[i] = kid{k, &refs[i]}
		b = b[kidSize:]
	}
	return nil
}

// EmptyNode returns the encoded root of an empty tree.
func EmptyNode() []byte { return newLeaf(0).encode(nil) }

package fs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math"

	"github.com/coffer-fs/coffer/store"
)

// Item types (docs/format.md, "Items of the filesystem"). A number is never
// reused; 4 is store.TypeExtent.
const (
	typeInode  = 1 // Sub 0: attributes
	typeXattr  = 2 // Sub: hash of the name, the part in the low byte
	typeInline = 3 // Sub: part; contents of a small file, or a link's target
	typeEntry  = 5 // Sub: hash of the name; entries of a directory by name
	typeIndex  = 6 // Sub: index; the same entries in the order of creation
	typeSuper  = 1 // object 0, Sub 0: the superblock
	typeOrphan = 7 // object 0, Sub: inode without a name that may have been open
	typeTrim   = 8 // object 0, Sub: inode whose extents behind its size must go
)

// superObject holds the items that belong to no file.
const superObject = 0

var superKey = store.Key{Object: superObject, Type: typeSuper}

func inodeKey(i Ino) store.Key { return store.Key{Object: uint64(i), Type: typeInode} }

func inlineKey(i Ino, part int) store.Key {
	return store.Key{Object: uint64(i), Type: typeInline, Sub: uint64(part)}
}

func extentKey(i Ino, end int64) store.Key {
	return store.Key{Object: uint64(i), Type: store.TypeExtent, Sub: uint64(end)}
}

func entryKey(dir Ino, hash uint64) store.Key {
	return store.Key{Object: uint64(dir), Type: typeEntry, Sub: hash}
}

func indexKey(dir Ino, index uint64) store.Key {
	return store.Key{Object: uint64(dir), Type: typeIndex, Sub: index}
}

func xattrKey(i Ino, hash uint64, part int) store.Key {
	return store.Key{Object: uint64(i), Type: typeXattr, Sub: hash&^0xff | uint64(part)}
}

func orphanKey(i Ino) store.Key {
	return store.Key{Object: superObject, Type: typeOrphan, Sub: uint64(i)}
}

func trimKey(i Ino) store.Key {
	return store.Key{Object: superObject, Type: typeTrim, Sub: uint64(i)}
}

// typeEnd is behind all items of one type of an object, but for Sub = 2^64-1,
// which no type uses.
func typeEnd(object uint64, t uint8) store.Key {
	return store.Key{Object: object, Type: t, Sub: math.MaxUint64}
}

// nameHash is a keyed hash to be used again, with room for what goes in and out.
type nameHash struct {
	hash.Hash
	name []byte
	sum  [sha256.Size]byte
}

// hash is the keyed hash of a name, so that nobody who chooses names can
// choose where their items fall.
func (f *Tree) hash(name string) uint64 {
	h, ok := f.hashes.Get().(*nameHash)
	if !ok {
		h = &nameHash{Hash: hmac.New(sha256.New, f.hashKey[:])}
	}
	defer f.hashes.Put(h)
	h.Reset()
	h.name = append(h.name[:0], name...)
	h.Write(h.name)
	v := binary.BigEndian.Uint64(h.Sum(h.sum[:0]))
	if v == math.MaxUint64 {
		return 0
	}
	return v
}

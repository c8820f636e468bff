package fs

import (
	"math"

	"github.com/coffer-fs/coffer/store"
)

// mapped is an extent at its place in a file.
type mapped struct {
	at     int64 // offset in the file
	extent store.Extent
}

func (m mapped) end() int64 { return m.at + int64(m.extent.Count) }

// extents calls fn for the extents of i that touch [from, to), in order, until
// fn returns false.
func extents(tx *store.Tx, i Ino, from, to int64, fn func(mapped) bool) error {
	return tx.Scan(extentKey(i, from+1), typeEnd(uint64(i), store.TypeExtent), func(k store.Key, v []byte) (bool, error) {
		m, err := parseMapped(i, k, v)
		if err != nil || m.at >= to {
			return false, err
		}
		return fn(m), nil
	})
}

func parseMapped(i Ino, k store.Key, v []byte) (mapped, error) {
	e, err := store.ParseExtent(v)
	if err != nil {
		return mapped{}, err
	}
	if k.Sub > MaxFileSize+BlockSize || int64(k.Sub) < int64(e.Count) {
		return mapped{}, damaged("inode %d: extent that ends at %d", i, k.Sub)
	}
	return mapped{int64(k.Sub) - int64(e.Count), e}, nil
}

func putMapped(tx *store.Tx, i Ino, m mapped) error {
	return tx.Put(extentKey(i, m.end()), m.extent.Append(nil))
}

// replace takes [from, to) of the file out of its extents, cutting those that
// reach over, and puts news there. It returns by how much the data grew, bytes.
func replace(tx *store.Tx, i Ino, from, to int64, news []mapped) (grown int64, err error) {
	var olds []mapped
	if err := extents(tx, i, from, to, func(m mapped) bool {
		olds = append(olds, m)
		return true
	}); err != nil {
		return 0, err
	}
	for _, m := range olds {
		if err := cut(tx, i, m, from, to); err != nil {
			return 0, err
		}
		grown -= min(m.end(), to) - max(m.at, from)
	}
	for _, m := range news {
		if err := putMapped(tx, i, m); err != nil {
			return 0, err
		}
		grown += int64(m.extent.Count)
	}
	return grown, nil
}

// cut takes [from, to) out of one extent.
func cut(tx *store.Tx, i Ino, m mapped, from, to int64) error {
	if err := tx.Delete(extentKey(i, m.end())); err != nil {
		return err
	}
	if m.at < from {
		if err := putMapped(tx, i, mapped{m.at, m.extent.Slice(0, uint32(from-m.at))}); err != nil {
			return err
		}
	}
	if m.end() > to {
		return putMapped(tx, i, mapped{to, m.extent.Slice(uint32(to-m.at), uint32(m.end()-to))})
	}
	return nil
}

// endOfFile is behind every offset of a file.
const endOfFile = int64(math.MaxInt64)

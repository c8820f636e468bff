package store

import (
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/store/tree"
)

// Key places an item in a volume's one ordered map.
type Key = tree.Key

// MaxUpdate is the most one Update may change, in encoded bytes.
const MaxUpdate = 256 << 10

// reader is a consistent state of the map.
type reader interface {
	get(k Key) ([]byte, bool, error)
	// scan calls fn for the items of [from, to) in order until it returns false.
	scan(from, to Key, fn func(Key, []byte) bool) error
}

// change is one item change: a nil value deletes.
type change struct {
	key   Key
	value []byte
}

// Tx is a transaction: a consistent view of the map and, in Update, a set of
// changes on top of it. It is valid within its closure only and is used by one
// goroutine at a time. After a method returned an error the transaction can
// only be given up: the closure must return that error.
type Tx struct {
	base     reader
	writable bool
	own      bool     // of the store itself: it sees the items of snapshots too
	changes  []change // ordered by key
	size     int      // encoded bytes of changes
	err      error    // first failure
}

// Get returns the value of k, and whether there is one. The value must not be
// changed, nor kept after the closure.
func (tx *Tx) Get(k Key) (value []byte, ok bool, err error) {
	if tx.err != nil {
		return nil, false, tx.err
	}
	if i, found := tx.find(k); found {
		v := tx.changes[i].value
		return v, v != nil, nil
	}
	if !tx.own && k.Object > MaxObject {
		return nil, false, nil
	}
	value, ok, tx.err = tx.base.get(k)
	return value, ok, tx.err
}

// Scan calls fn for each item of [from, to) in order of keys, until fn returns
// false or an error. fn must not change the transaction.
func (tx *Tx) Scan(from, to Key, fn func(k Key, value []byte) (more bool, err error)) error {
	if tx.err != nil {
		return tx.err
	}
	if !tx.own && usersEnd.Less(to) {
		to = usersEnd
	}
	i, _ := tx.find(from)
	var fnErr error
	more := true
	visit := func(k Key, v []byte) bool {
		more, fnErr = fn(k, v)
		more = more && fnErr == nil
		return more
	}
	// changed visits what was put before key end, or at it where that hides
	// the base's item, and reports whether it was so hidden.
	changed := func(end Key) (hidden bool) {
		for ; more && i < len(tx.changes) && tx.changes[i].key.Compare(end) <= 0; i++ {
			c := tx.changes[i]
			hidden = c.key == end
			if c.value != nil && c.key.Less(to) {
				visit(c.key, c.value)
			}
		}
		return hidden
	}
	err := tx.base.scan(from, to, func(k Key, v []byte) bool {
		if !changed(k) && more {
			visit(k, v)
		}
		return more
	})
	if err != nil {
		tx.err = err
		return err
	}
	changed(to)
	return fnErr
}

// Put sets the value of k. The value, which may be empty, belongs to the store
// afterwards. ErrTooLarge.
func (tx *Tx) Put(k Key, value []byte) error {
	if len(value) > tree.MaxValue {
		return fmt.Errorf("value of %d bytes for item %v: %w", len(value), k, ErrTooLarge)
	}
	if value == nil {
		value = []byte{}
	}
	return tx.change(change{k, value})
}

// Delete removes k. It is no error if there is none.
func (tx *Tx) Delete(k Key) error { return tx.change(change{key: k}) }

// Size is the encoded size of the changes made so far, in bytes; it may grow
// up to MaxUpdate.
func (tx *Tx) Size() int { return tx.size }

func (tx *Tx) change(c change) error {
	if tx.err != nil {
		return tx.err
	}
	if !tx.writable {
		return fmt.Errorf("change in a View: %w", ErrReadOnly)
	}
	if !tx.own {
		if err := checkUserKey(c.key); err != nil {
			return err
		}
	}
	i, found := tx.find(c.key)
	if found {
		tx.size += c.encodedSize() - tx.changes[i].encodedSize()
		tx.changes[i] = c
	} else {
		tx.size += c.encodedSize()
		tx.changes = slices.Insert(tx.changes, i, c)
	}
	if tx.size > MaxUpdate {
		tx.err = fmt.Errorf("one update of %d bytes: %w", tx.size, ErrTooLarge)
	}
	return tx.err
}

// find returns the index of k among the changes, or where it would stand.
func (tx *Tx) find(k Key) (int, bool) {
	return slices.BinarySearchFunc(tx.changes, k, func(c change, k Key) int { return c.key.Compare(k) })
}

// encodedSize is the size of the change's log record: docs/format.md, "Records".
func (c change) encodedSize() int { return 1 + tree.KeySize + 2 + len(c.value) }

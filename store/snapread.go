package store

import (
	"math"

	"github.com/coffer-fs/coffer/store/tree"
)

// snapReader reads a snapshot: what its layer says, else what the layer of the next
// newer one does, and so on, and the present state in the end.
type snapReader struct {
	v      *tree.View
	layers []layer // its own first; the last is 0, the present state
	end    Key     // behind all that existed
}

func newSnapReader(v *tree.View, all []*snapshot) snapReader {
	r := snapReader{v: v, end: usersEnd}
	if n := all[0].objects; n <= MaxObject {
		r.end = Key{Object: n}
	}
	for _, p := range all {
		r.layers = append(r.layers, p.layer)
	}
	r.layers = append(r.layers, 0)
	return r
}

func (r snapReader) get(k Key) (value []byte, ok bool, err error) {
	if !k.Less(r.end) || k.Type > MaxType {
		return nil, false, nil
	}
	if k.Type == TypeExtent {
		err = r.extents(k.Object, k.Sub, k.Sub, func(_ Key, v []byte) bool {
			value, ok = v, true
			return false
		})
		return value, ok, asDamage(err)
	}
	for _, l := range r.layers {
		if value, ok, err = r.v.Get(l.key(k)); err != nil || ok {
			return value, ok, asDamage(err)
		}
		if _, gone, err := r.v.Get(l.absentKey(k)); err != nil || gone {
			return nil, false, asDamage(err)
		}
	}
	return nil, false, nil
}

// scan visits one object's items of one type after the other.
func (r snapReader) scan(from, to Key, fn func(Key, []byte) bool) error {
	if r.end.Less(to) {
		to = r.end
	}
	for {
		k, ok, err := r.nextGroup(from)
		if err != nil || !ok || !k.Less(to) {
			return asDamage(err)
		}
		last := uint64(math.MaxUint64)
		if k.Object == to.Object && k.Type == to.Type {
			last = to.Sub - 1 // k is before it
		}
		more := true
		visit := func(k Key, v []byte) bool {
			more = fn(k, v)
			return more
		}
		if k.Type == TypeExtent {
			err = r.extents(k.Object, k.Sub, last, visit)
		} else {
			err = r.items(k, last, visit)
		}
		if err != nil || !more || last != math.MaxUint64 {
			return asDamage(err)
		}
		from = Key{Object: k.Object, Type: k.Type + 1}
	}
}

// nextGroup returns the first key from k on at which an object's items of one type
// may begin.
func (r snapReader) nextGroup(k Key) (first Key, ok bool, err error) {
	for _, l := range r.layers {
		found, is, err := l.firstItem(r.v, k)
		if err != nil {
			return k, false, err
		}
		if is && (!ok || found.Less(first)) {
			first, ok = found, true
		}
	}
	first.Sub = 0
	if first.Object == k.Object && first.Type == k.Type {
		first.Sub = k.Sub // a layer may end data before the end that was found
	}
	return first, ok, nil
}

// firstItem returns the first key from k on at which the layer has an item.
func (l layer) firstItem(v *tree.View, k Key) (found Key, ok bool, err error) {
	for {
		var skip bool
		err = v.Scan(l.key(k), l.end(), func(at Key, _ []byte) bool {
			var gone bool
			_, found, gone = splitKey(at)
			ok, skip = !gone, gone
			return false
		})
		if err != nil || !skip {
			return found, ok, err
		}
		// Behind an object's items is what it did not have.
		if found.Object == MaxObject {
			return found, false, nil
		}
		k = Key{Object: found.Object + 1}
	}
}

// items visits items that are not data, from k to Sub last.
func (r snapReader) items(k Key, last uint64, fn func(Key, []byte) bool) error {
	var cursors []*cursor // two of each layer
	for _, l := range r.layers {
		for _, at := range []Key{l.key(k), l.absentKey(k)} {
			if l == 0 && at.Type&absent != 0 {
				continue
			}
			c := newCursor(r.v, at, last)
			if ok, err := c.fill(); err != nil {
				return err
			} else if ok {
				cursors = append(cursors, c)
			}
		}
	}
	for len(cursors) > 0 {
		first := cursors[0]
		for _, c := range cursors[1:] {
			if c.head().Key.Sub < first.head().Key.Sub {
				first = c
			}
		}
		it := first.head()
		_, plain, gone := splitKey(it.Key)
		if !gone && !fn(plain, it.Value) {
			return nil
		}
		left := cursors[:0]
		for _, c := range cursors {
			if c.head().Key.Sub == plain.Sub {
				c.advance()
			}
			ok, err := c.fill()
			if err != nil {
				return err
			}
			if ok {
				left = append(left, c)
			}
		}
		cursors = left
	}
	return nil
}

// extents visits the data of an object as the extents that end from first to last.
// Where a layer says something of a part of an extent below it, it is cut.
func (r snapReader) extents(object, first, last uint64, fn func(Key, []byte) bool) error {
	from := first - min(first, MaxFrame) // no extent is longer
	w := spanWalk{snapReader: r, object: object, fn: func(p span) bool {
		if p.to < first {
			return true
		}
		return p.to <= last && fn(Key{Object: object, Type: TypeExtent, Sub: p.to}, p.extent.Append(nil))
	}}
	to := last
	if to <= math.MaxUint64-MaxFrame {
		to += MaxFrame // so that what ends behind it is not cut
	}
	_, err := w.walk(r.layers, from, to)
	return err
}

// spanWalk visits data of an object in a snapshot.
type spanWalk struct {
	snapReader
	object uint64
	fn     func(span) bool
}

// walk visits what these layers say of [from, to), and reports whether to go on.
func (w spanWalk) walk(layers []layer, from, to uint64) (more bool, err error) {
	k := Key{Object: w.object, Type: TypeExtent, Sub: from + 1}
	l := layers[0]
	data, holes := newCursor(w.v, l.key(k), math.MaxUint64), newCursor(w.v, l.absentKey(k), math.MaxUint64)
	for at := from; at < to; {
		p, ok, err := nextSpan(data, holes, l)
		if err != nil {
			return false, err
		}
		if !ok || p.from >= to {
			p = span{from: to, to: to}
		}
		if p.from > at && len(layers) > 1 {
			if more, err := w.walk(layers[1:], at, p.from); err != nil || !more {
				return false, err
			}
		}
		if p.from == to {
			return true, nil
		}
		part := p.cut(max(p.from, at), min(p.to, to))
		if !p.hole() && !w.fn(part) {
			return false, nil
		}
		at = part.to
	}
	return true, nil
}

// nextSpan takes the first of what two cursors of a layer find.
func nextSpan(data, holes *cursor, l layer) (span, bool, error) {
	isData, err := data.fill()
	if err != nil {
		return span{}, false, err
	}
	isHole := false
	if l != 0 {
		if isHole, err = holes.fill(); err != nil {
			return span{}, false, err
		}
	}
	c := data
	switch {
	case !isData && !isHole:
		return span{}, false, nil
	case !isData, isHole && holes.head().Key.Sub < data.head().Key.Sub:
		c = holes
	}
	it := c.head()
	c.advance()
	p, err := spanOf(it.Key, it.Value)
	return p, true, err
}

// cursor goes over the items of one object and type, page by page.
type cursor struct {
	v    *tree.View
	next Key // of the next page
	end  Key
	page []tree.Item
	size int  // of the next page
	last bool // there is no other page
}

// Limits of a cursor's pages, in items.
const (
	minCursorPage = 8
	maxCursorPage = 256
)

// newCursor begins at k and ends at Sub last.
func newCursor(v *tree.View, k Key, last uint64) *cursor {
	end := Key{Object: k.Object, Type: k.Type + 1}
	if last != math.MaxUint64 {
		end = Key{Object: k.Object, Type: k.Type, Sub: last + 1}
	}
	return &cursor{v: v, next: k, end: end, size: minCursorPage}
}

// fill makes sure that there is a head, if there is another item.
func (c *cursor) fill() (bool, error) {
	if len(c.page) > 0 || c.last {
		return len(c.page) > 0, nil
	}
	c.page = nil
	err := c.v.Scan(c.next, c.end, func(k Key, v []byte) bool {
		c.page = append(c.page, tree.Item{Key: k, Value: v})
		return len(c.page) < c.size
	})
	if err != nil {
		return false, err
	}
	c.last = len(c.page) < c.size
	c.size = min(2*c.size, maxCursorPage)
	if n := len(c.page); n > 0 && !c.last {
		c.next, _ = c.page[n-1].Key.Next()
	}
	return len(c.page) > 0, nil
}

func (c *cursor) head() tree.Item { return c.page[0] }

func (c *cursor) advance() { c.page = c.page[1:] }

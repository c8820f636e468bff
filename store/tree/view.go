package tree

import (
	"context"
	"errors"
	"fmt"
)

// ErrMiss: a node that is not in memory is needed. See View.Fetch.
var ErrMiss = errors.New("tree node is not in memory")

// View is a state of the map.
type View struct {
	tree     *Tree
	root     *ref
	level    uint8
	ctx      context.Context
	resident bool
	missing  []missing
	held     map[Ptr]*node // loaded by Fetch: an eviction must not undo it
}

type missing struct {
	ptr   Ptr
	level uint8
}

// node returns the node of r, which has the given level.
func (v *View) node(r *ref, level uint8) (*node, error) {
	if n := r.node.Load(); n != nil {
		return n, nil
	}
	if n := v.held[r.ptr]; n != nil {
		return n, nil
	}
	if n := v.tree.cache.get(r.ptr); n != nil && n.level == level {
		if v.resident {
			v.hold(r.ptr, n)
		}
		return n, nil
	}
	if v.resident {
		v.missing = append(v.missing, missing{r.ptr, level})
		return nil, ErrMiss
	}
	return v.tree.fetch(v.ctx, r.ptr, level)
}

func (v *View) hold(p Ptr, n *node) {
	if v.held == nil {
		v.held = map[Ptr]*node{}
	}
	v.held[p] = n
}

// fetch loads a node into the cache.
func (t *Tree) fetch(ctx context.Context, p Ptr, level uint8) (*node, error) {
	n, err := t.read(ctx, p, level)
	if err == nil {
		t.cache.put(p, n)
	}
	return n, err
}

// read loads a node past the cache.
func (t *Tree) read(ctx context.Context, p Ptr, level uint8) (*node, error) {
	b, err := t.load(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("tree node at %d:%d: %w", p.Segment, p.Offset, err)
	}
	n, err := decode(b, level)
	if err != nil {
		return nil, fmt.Errorf("tree node at %d:%d: %w", p.Segment, p.Offset, err)
	}
	return n, nil
}

// Missed reports whether a read gave ErrMiss since the last Fetch.
func (v *View) Missed() bool { return len(v.missing) > 0 }

// Fetch loads what the reads since the last Fetch missed, and keeps it until the
// view is dropped. It needs no lock.
func (v *View) Fetch(ctx context.Context) error {
	for _, m := range v.missing {
		n, err := v.tree.fetch(ctx, m.ptr, m.level)
		if err != nil {
			return err
		}
		v.hold(m.ptr, n)
	}
	v.missing = v.missing[:0]
	return nil
}

// Get returns the value of k, and whether there is one.
func (v *View) Get(k Key) ([]byte, bool, error) {
	n, err := v.leafFor(k)
	if err != nil {
		return nil, false, err
	}
	if i, ok := n.find(k); ok {
		return n.items[i].Value, true, nil
	}
	return nil, false, nil
}

func (v *View) leafFor(k Key) (*node, error) {
	r := v.root
	for level := v.level; ; level-- {
		n, err := v.node(r, level)
		if err != nil || level == 0 {
			return n, err
		}
		r = n.kids[n.kidFor(k)].ref
	}
}

// Scan calls fn for the items of [from, to) in order until it returns false.
func (v *View) Scan(from, to Key, fn func(Key, []byte) bool) error {
	_, err := v.scan(v.root, v.level, from, to, fn)
	return err
}

func (v *View) scan(r *ref, level uint8, from, to Key, fn func(Key, []byte) bool) (more bool, err error) {
	n, err := v.node(r, level)
	if err != nil {
		return false, err
	}
	if level == 0 {
		i, _ := n.find(from)
		for ; i < len(n.items); i++ {
			if !n.items[i].Key.Less(to) || !fn(n.items[i].Key, n.items[i].Value) {
				return false, nil
			}
		}
		return true, nil
	}
	for i := n.kidFor(from); i < len(n.kids); i++ {
		if i > 0 && !n.kids[i].key.Less(to) {
			return false, nil
		}
		if more, err = v.scan(n.kids[i].ref, level-1, from, to, fn); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// Place is where one node of a written tree lies.
type Place struct {
	Ptr   Ptr
	Level uint8
	Key   Key // a key that leads to the node
	End   Key // what the node holds is before it; known to Walk and ScanPast
}

// Places calls fn for every node that is written, parents first, until it
// returns an error. Leaves are not loaded.
func (v *View) Places(fn func(Place) error) error {
	return v.places(v.root, v.level, Key{}, fn)
}

func (v *View) places(r *ref, level uint8, k Key, fn func(Place) error) error {
	if r.node.Load() == nil {
		if err := fn(Place{Ptr: r.ptr, Level: level, Key: k}); err != nil {
			return err
		}
	}
	if level == 0 {
		return nil
	}
	n, err := v.node(r, level)
	if err != nil {
		return err
	}
	for _, c := range n.kids {
		if err := v.places(c.ref, level-1, c.key, fn); err != nil {
			return err
		}
	}
	return nil
}

// Reach reads the path to the node at p, and reports whether the node is still
// part of this state.
func (v *View) Reach(p Place) (bool, error) {
	r := v.root
	for level := v.level; level >= p.Level; level-- {
		if level == p.Level && (r.node.Load() != nil || r.ptr != p.Ptr) {
			return false, nil
		}
		n, err := v.node(r, level)
		if err != nil || level == p.Level {
			return err == nil, err
		}
		r = n.kids[n.kidFor(p.Key)].ref
	}
	return false, nil
}

// Range returns which keys the node at p is for, which k leads to. ok is false if it is
// not part of this state. The node itself is not read.
func (v *View) Range(p Ptr, k Key) (from, end Key, ok bool, err error) {
	r := v.root
	end = lastKey
	for level := v.level; ; level-- {
		if r.node.Load() == nil && r.ptr == p {
			return from, end, true, nil
		}
		if level == 0 {
			return from, end, false, nil
		}
		n, err := v.node(r, level)
		if err != nil {
			return from, end, false, err
		}
		i := n.kidFor(k)
		if i > 0 {
			from = n.kids[i].key
		}
		if i+1 < len(n.kids) {
			end = n.kids[i+1].key
		}
		r = n.kids[i].ref
	}
}

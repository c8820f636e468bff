package tree

import (
	"context"
	"math"
	"slices"
	"sync"
)

// walkAhead is how many leaves Walk loads at the same time.
const walkAhead = 16

// Visitor is told what Walk finds. Both functions end the walk by an error.
type Visitor struct {
	// Node is called for every node that is written. With an error the node
	// could not be loaded, and Walk goes on behind it.
	Node func(p Place, err error) error
	// Item is called for every item, in order of keys. The value is valid
	// during the call only.
	Item func(k Key, value []byte) error
}

// Walk visits the whole state, parents first, and loads every written node
// anew, whatever is cached. It keeps no more than a few nodes a level.
func (v *View) Walk(ctx context.Context, load Loader, visit Visitor) error {
	return v.WalkFrom(ctx, load, Key{}, visit)
}

// WalkFrom is Walk for the items from a key on, and the nodes that lead to them.
func (v *View) WalkFrom(ctx context.Context, load Loader, from Key, visit Visitor) error {
	w := &walk{ctx: ctx, tree: &Tree{load: load}, from: from, Visitor: visit}
	return w.visit(w.loaded(kid{ref: v.root}, v.level, lastKey), v.level)
}

// lastKey is behind every key.
var lastKey = Key{math.MaxUint64, math.MaxUint8, math.MaxUint64}

type walk struct {
	ctx  context.Context
	tree *Tree // has nothing but the loader
	from Key
	Visitor
}

// loadedNode is a node, or why there is none.
type loadedNode struct {
	node    *node
	place   Place
	written bool
	err     error
}

// loaded loads the node of k, whose items are before end.
func (w *walk) loaded(k kid, level uint8, end Key) loadedNode {
	l := loadedNode{place: Place{Level: level, Key: k.key, End: end}}
	if l.node = k.ref.node.Load(); l.node == nil {
		l.place.Ptr, l.written = k.ref.ptr, true // which a checkpoint sets before that is nil
		l.node, l.err = w.tree.read(w.ctx, k.ref.ptr, level)
	}
	return l
}

func (w *walk) visit(l loadedNode, level uint8) error {
	if l.written {
		if err := w.Node(l.place, l.err); err != nil || l.err != nil {
			return err
		}
	}
	i, _ := l.node.find(w.from)
	for _, it := range l.node.items[i:] {
		if err := w.Item(it.Key, it.Value); err != nil {
			return err
		}
	}
	kids := slices.Clone(l.node.kids)
	if len(kids) == 0 {
		return nil
	}
	kids[0].key = l.place.Key // it has what is before its own key too
	kids = kids[l.node.kidFor(w.from):]
	for len(kids) > 0 {
		n := 1
		if level == 1 {
			n = min(walkAhead, len(kids))
		}
		end := l.place.End
		if n < len(kids) {
			end = kids[n].key
		}
		if err := w.visitKids(kids[:n], level-1, end); err != nil {
			return err
		}
		kids = kids[n:]
	}
	return nil
}

// visitKids loads neighbours at the same time and visits them in order.
func (w *walk) visitKids(kids []kid, level uint8, end Key) error {
	loaded := make([]loadedNode, len(kids))
	load := func(i int) {
		next := end
		if i+1 < len(kids) {
			next = kids[i+1].key
		}
		loaded[i] = w.loaded(kids[i], level, next)
	}
	var wg sync.WaitGroup
	for i := range kids[1:] {
		wg.Go(func() { load(i + 1) })
	}
	load(0)
	wg.Wait()
	for _, l := range loaded {
		if err := w.visit(l, level); err != nil {
			return err
		}
	}
	return nil
}

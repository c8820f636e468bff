package tree

import (
	"context"
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
	return w.visit(w.loaded(v.root, v.level, Key{}), v.level)
}

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

func (w *walk) loaded(r *ref, level uint8, k Key) loadedNode {
	if n := r.node.Load(); n != nil {
		return loadedNode{node: n}
	}
	n, err := w.tree.read(w.ctx, r.ptr, level)
	return loadedNode{n, Place{r.ptr, level, k}, true, err}
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
	kids := l.node.kids
	if len(kids) > 0 {
		kids = kids[l.node.kidFor(w.from):]
	}
	for len(kids) > 0 {
		n := 1
		if level == 1 {
			n = min(walkAhead, len(kids))
		}
		if err := w.visitKids(kids[:n], level-1); err != nil {
			return err
		}
		kids = kids[n:]
	}
	return nil
}

// visitKids loads neighbours at the same time and visits them in order.
func (w *walk) visitKids(kids []kid, level uint8) error {
	loaded := make([]loadedNode, len(kids))
	var wg sync.WaitGroup
	for i, c := range kids[1:] {
		wg.Go(func() { loaded[i+1] = w.loaded(c.ref, level, c.key) })
	}
	loaded[0] = w.loaded(kids[0].ref, level, kids[0].key)
	wg.Wait()
	for _, l := range loaded {
		if err := w.visit(l, level); err != nil {
			return err
		}
	}
	return nil
}

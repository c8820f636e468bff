package tree

import (
	"fmt"
	"sync"
)

// Frozen is the state of a tree at a checkpoint, being written while the tree
// goes on changing.
type Frozen struct {
	tree  *Tree
	root  *ref
	level uint8
	bytes int
	freed []*ref
	buf   []byte
}

// Freeze takes the present state for writing. The caller must end it with
// Done or Failed before it freezes again.
func (t *Tree) Freeze() *Frozen {
	f := &Frozen{tree: t, root: t.root, level: t.level, bytes: t.dirtyBytes, freed: t.freed}
	t.frozenBytes += t.dirtyBytes
	t.dirtyBytes, t.freed = 0, nil
	t.frozen = t.epoch
	t.epoch++
	t.shared = false
	return f
}

// Write gives every node that is not yet written to write, children first, and
// returns the place of the root. p is valid during the call only. The caller does
// not hold lock, which serialises the tree: Write takes it to let go of a written
// node, since a change that was prepared must find the node.
func (f *Frozen) Write(lock sync.Locker, write func(p []byte) (Ptr, error)) (root Ptr, level uint8, err error) {
	if err := f.write(lock, f.root, write); err != nil {
		return Ptr{}, 0, fmt.Errorf("write tree: %w", err)
	}
	return f.root.ptr, f.level, nil
}

func (f *Frozen) write(lock sync.Locker, r *ref, write func(p []byte) (Ptr, error)) error {
	n := r.node.Load()
	if n == nil {
		return nil
	}
	for _, c := range n.kids {
		if err := f.write(lock, c.ref, write); err != nil {
			return err
		}
	}
	f.buf = n.encode(f.buf[:0])
	if len(f.buf) != n.size || len(f.buf) > MaxNode {
		panic(fmt.Sprintf("tree: node of %d bytes encodes to %d", n.size, len(f.buf)))
	}
	p, err := write(f.buf)
	if err != nil {
		return err
	}
	lock.Lock()
	defer lock.Unlock()
	r.ptr = p
	f.tree.cache.put(p, n)
	r.node.Store(nil)
	return nil
}

// Done ends a checkpoint whose root is durable.
func (f *Frozen) Done() {
	f.tree.frozenBytes -= f.bytes
	for _, p := range f.Freed() {
		f.tree.cache.drop(p)
	}
}

// Freed returns the places that the frozen state no longer needs, and the one
// before it did.
func (f *Frozen) Freed() []Ptr { return places(f.freed) }

// places returns where the written ones of refs lie.
func places(refs []*ref) []Ptr {
	var dead []Ptr
	for _, r := range refs {
		if r.node.Load() == nil {
			dead = append(dead, r.ptr)
		}
	}
	return dead
}

// Failed ends a checkpoint that could not be made: what it would have freed and
// written is left to the next one.
func (f *Frozen) Failed() {
	f.tree.frozenBytes -= f.bytes
	f.tree.dirtyBytes += f.bytes
	f.tree.freed = append(f.freed, f.tree.freed...)
}

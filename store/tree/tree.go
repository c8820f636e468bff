// Package tree is a copy-on-write B+tree of sealed nodes: the one ordered map
// of a volume.
//
// Nodes are at most 16 KiB, come in on demand through a Loader and stay in a
// bounded cache. Changed nodes live in memory until a checkpoint freezes the
// tree and writes them, children before parents; meanwhile changes go on, on
// copies. A View is a constant state: it never waits for a change, and no
// change waits for it.
//
// The package knows no segments, no keys of ciphers and no log; it is imported
// by store alone.
//
// Locking: the caller serialises all methods of Tree (store holds its one
// mutex). Views are free of locks. A Frozen is used by one goroutine.
package tree

import (
	"context"
	"fmt"
)

// Loader fetches and verifies the plaintext of the node at p.
type Loader func(ctx context.Context, p Ptr) ([]byte, error)

// Tree is the changing state of the map.
type Tree struct {
	root  *ref
	level uint8 // of the root

	epoch  uint64 // nodes of this epoch may be changed in place
	shared bool   // a View may hold nodes of this epoch
	frozen uint64 // nodes up to this epoch belong to a checkpoint

	dirtyBytes  int // encoded bytes of nodes changed since the last freeze
	frozenBytes int // and of nodes frozen but not yet written
	freed       []*ref

	maxNode int // MaxNode, but in tests
	cache   *cache
	load    Loader
}

// New returns an empty tree.
func New(load Loader, cacheBytes int) *Tree {
	t := &Tree{epoch: 1, maxNode: MaxNode, cache: newCache(cacheBytes), load: load}
	t.setRoot(newLeaf(t.epoch), 0)
	t.dirtyBytes = nodeFixed
	return t
}

// Open returns the tree whose root is the node at p, of the given level.
func Open(load Loader, cacheBytes int, p Ptr, level uint8) (*Tree, error) {
	if level > MaxLevel {
		return nil, fmt.Errorf("tree of %d levels: %w", level, ErrDamaged)
	}
	return &Tree{root: &ref{ptr: p}, level: level, epoch: 1, maxNode: MaxNode, cache: newCache(cacheBytes), load: load}, nil
}

func (t *Tree) setRoot(n *node, level uint8) {
	t.root, t.level = &ref{}, level
	t.root.node.Store(n)
}

// DirtyBytes is what a checkpoint would have to write, in bytes.
func (t *Tree) DirtyBytes() int { return t.dirtyBytes + t.frozenBytes }

// View returns the present state, which later changes leave alone. Its nodes
// are loaded as needed, under ctx.
func (t *Tree) View(ctx context.Context) *View {
	t.shared = true
	return &View{tree: t, root: t.root, level: t.level, ctx: ctx}
}

// Resident returns the present state for use before the next change. It does
// not load: a read that would have to gives ErrMiss, and Missing then loads
// what is needed, after which the reads are to be made again.
func (t *Tree) Resident() *View {
	return &View{tree: t, root: t.root, level: t.level, resident: true}
}

// Rebase lets v, which keeps the nodes it loaded, see the present state.
func (t *Tree) Rebase(v *View) { v.root, v.level = t.root, t.level }

// Freed returns the places that the next checkpoint will free: the last one
// needs them and the present state does not.
func (t *Tree) Freed() []Ptr { return places(t.freed) }

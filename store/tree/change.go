package tree

import "slices"

// Thresholds for joining neighbours, in encoded bytes: a node under a quarter
// is joined with a neighbour if the two fill at most three quarters.
func (t *Tree) smallNode() int { return t.maxNode / 4 }
func (t *Tree) joinLimit() int { return t.maxNode * 3 / 4 }

// sequentialRun is how many entries in a row, each behind the one before, make
// a sequence.
const sequentialRun = 16

// Put sets the value of k, which v has prepared. The tree keeps value.
func (t *Tree) Put(v *View, k Key, value []byte) { t.change(v, Item{k, value}, false) }

// Delete removes k, which v has prepared and found.
func (t *Tree) Delete(v *View, k Key) { t.change(v, Item{Key: k}, true) }

// Touch has the node at p, which v has reached, written again by the next
// checkpoint, so that nothing of the tree stays at that place.
func (t *Tree) Touch(v *View, p Place) {
	r := &t.root
	for level := t.level; ; level-- {
		n := t.writable(v, r, level)
		if level == p.Level {
			return
		}
		r = &n.kids[n.kidFor(p.Key)].ref
	}
}

// Unshare must be called before the first change after Views were taken while
// some of them are still in use: nodes they may see will be copied.
func (t *Tree) Unshare() {
	if t.shared {
		t.epoch++
		t.shared = false
	}
}

// Unused tells the tree that no View is in use any more.
func (t *Tree) Unused() { t.shared = false }

func (t *Tree) change(v *View, it Item, remove bool) {
	right := t.descend(v, &t.root, t.level, it, remove)
	if right != nil {
		old := kid{Key{}, t.root}
		n := &node{level: t.level + 1, epoch: t.epoch, kids: []kid{old, *right}, size: nodeFixed + 2*kidSize}
		t.dirtyBytes += n.size
		t.setRoot(n, t.level+1)
	}
	t.lowerRoot(v)
}

// lowerRoot drops roots with a single child.
func (t *Tree) lowerRoot(v *View) {
	for t.level > 0 {
		n := t.root.node.Load()
		if n == nil || len(n.kids) > 1 {
			return
		}
		t.discard(t.root, n)
		if len(n.kids) == 0 {
			leaf := newLeaf(t.epoch)
			t.dirtyBytes += leaf.size
			t.setRoot(leaf, 0)
			return
		}
		t.root, t.level = n.kids[0].ref, t.level-1
	}
}

// discard takes a node out of the tree.
func (t *Tree) discard(r *ref, n *node) {
	if r.node.Load() != nil && n.epoch > t.frozen {
		t.dirtyBytes -= n.size
		return // it was never written and never will be
	}
	t.freed = append(t.freed, r)
}

// writable returns the node of *r for changing, copying it if it is shared;
// then *r refers to the copy.
func (t *Tree) writable(v *View, r **ref, level uint8) *node {
	old, err := v.node(*r, level)
	if err != nil {
		panic("tree: change of a key that was not prepared: " + err.Error())
	}
	if old.epoch == t.epoch {
		return old
	}
	n := old.clone(t.epoch)
	t.dirtyBytes += n.size
	t.discard(*r, old)
	*r = &ref{}
	(*r).node.Store(n)
	return n
}

// descend makes one change below *r and returns the new right neighbour if
// the node had to be split.
func (t *Tree) descend(v *View, r **ref, level uint8, it Item, remove bool) *kid {
	n := t.writable(v, r, level)
	before := n.size
	if level == 0 {
		n.changeItem(it, remove)
	} else {
		t.changeKid(v, n, it, remove)
	}
	t.dirtyBytes += n.size - before
	if n.size <= t.maxNode {
		return nil
	}
	return t.split(n)
}

func (n *node) changeItem(it Item, remove bool) {
	i, found := n.find(it.Key)
	if found {
		n.size -= itemFixed + len(n.items[i].Value)
	}
	switch {
	case found && remove:
		n.items = slices.Delete(n.items, i, i+1)
		return
	case remove:
		return
	case found:
		n.items[i] = it
	default:
		n.items = slices.Insert(n.items, i, it)
		n.inserted(i)
	}
	n.size += itemFixed + len(it.Value)
}

func (t *Tree) changeKid(v *View, n *node, it Item, remove bool) {
	i := n.kidFor(it.Key)
	if it.Key.Less(n.kids[i].key) {
		n.kids[i].key = it.Key // the first child takes what lies before it
	}
	if right := t.descend(v, &n.kids[i].ref, n.level-1, it, remove); right != nil {
		n.kids = slices.Insert(n.kids, i+1, *right)
		n.inserted(i + 1)
		n.size += kidSize
		return
	}
	child := n.kids[i].ref.node.Load()
	switch {
	case child.count() == 0:
		t.discard(n.kids[i].ref, child)
		n.removeKid(i)
	case child.size < t.smallNode() && remove:
		t.join(v, n, i)
	}
}

func (n *node) removeKid(i int) {
	n.kids = slices.Delete(n.kids, i, i+1)
	n.size -= kidSize
}

// join merges child i of n, which is small, with a neighbour, if one is in
// memory and small enough.
func (t *Tree) join(v *View, n *node, i int) {
	for _, l := range []int{i - 1, i} { // the left one of each pair
		if l < 0 || l+1 >= len(n.kids) {
			continue
		}
		left, right := t.inMemory(v, n.kids[l].ref), t.inMemory(v, n.kids[l+1].ref)
		if left == nil || right == nil || left.size+right.size-nodeFixed > t.joinLimit() {
			continue
		}
		rightRef := n.kids[l+1].ref
		left = t.writable(v, &n.kids[l].ref, left.level)
		left.items = append(left.items, right.items...)
		left.kids = append(left.kids, right.kids...)
		left.size += right.size - nodeFixed
		t.dirtyBytes += right.size - nodeFixed
		t.discard(rightRef, right)
		n.removeKid(l + 1)
		return
	}
}

// inMemory returns the node of r if it need not be loaded.
func (t *Tree) inMemory(v *View, r *ref) *node {
	if n := r.node.Load(); n != nil {
		return n
	}
	if n := v.held[r.ptr]; n != nil {
		return n
	}
	n := t.cache.get(r.ptr)
	if n != nil {
		v.hold(r.ptr, n)
	}
	return n
}

// split moves the upper part of n, which is over the limit, to a new node. Where
// keys come in order, as offsets and inode numbers do, the entries before the
// newest stay together, so that nodes end up full.
func (t *Tree) split(n *node) *kid {
	at := n.splitIndex(t.maxNode)
	left := n.sizeBefore(at)
	right := &node{level: n.level, epoch: t.epoch, size: n.size - left + nodeFixed}
	var k Key
	if n.level == 0 {
		k = n.items[at].Key
		right.items = slices.Clone(n.items[at:])
		clear(n.items[at:])
		n.items = n.items[:at]
	} else {
		k = n.kids[at].key
		right.kids = slices.Clone(n.kids[at:])
		clear(n.kids[at:])
		n.kids = n.kids[:at]
	}
	n.size = left
	t.dirtyBytes += nodeFixed
	r := &ref{}
	r.node.Store(right)
	return &kid{k, r}
}

// splitIndex is the index of the first entry that moves. Both parts get at
// least one entry and fit: an entry is less than a quarter of a node.
func (n *node) splitIndex(limit int) int {
	if at := n.last; n.run >= sequentialRun && at > 0 && at < n.count() {
		left := n.sizeBefore(at)
		if left <= limit && n.size-left+nodeFixed <= limit {
			return at
		}
	}
	at := 1
	for at < n.count()-1 && n.sizeBefore(at) < n.size/2 {
		at++
	}
	return at
}

// sizeBefore is the encoded size of a node of the entries before index at.
func (n *node) sizeBefore(at int) int {
	if n.level > 0 {
		return nodeFixed + at*kidSize
	}
	size := nodeFixed
	for _, it := range n.items[:at] {
		size += itemFixed + len(it.Value)
	}
	return size
}

// inserted notes that an entry was added at index i.
func (n *node) inserted(i int) {
	if i == n.last+1 {
		n.run++
	} else {
		n.run = 0
	}
	n.last = i
}

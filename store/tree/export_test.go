package tree

// SetMaxNode makes nodes small, so that few items make a high tree.
func (t *Tree) SetMaxNode(n int) { t.maxNode = n }

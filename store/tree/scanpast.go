package tree

// Lost is a part of the map that can't be read: every item of [From, To) below
// one node.
type Lost struct {
	Place    Place
	From, To Key
	Err      error
}

// ScanPast is Scan that goes on behind nodes which can't be loaded: lost is told
// of each, in order with the items, and ends the scan by an error.
func (v *View) ScanPast(from, to Key, fn func(Key, []byte) bool, lost func(Lost) error) error {
	s := &scanPast{v: v, from: from, to: to, fn: fn, lost: lost}
	_, err := s.visit(v.root, v.level, Key{}, to)
	return err
}

type scanPast struct {
	v        *View
	from, to Key
	fn       func(Key, []byte) bool
	lost     func(Lost) error
}

// visit visits a node that holds the items of [first, end) at most.
func (s *scanPast) visit(r *ref, level uint8, first, end Key) (more bool, err error) {
	n, err := s.v.node(r, level)
	if err != nil {
		l := Lost{Place{r.ptr, level, first, end}, first, end, err}
		if l.From.Less(s.from) {
			l.From = s.from
		}
		err = s.lost(l)
		return err == nil, err
	}
	if level == 0 {
		i, _ := n.find(s.from)
		for ; i < len(n.items); i++ {
			if !n.items[i].Key.Less(s.to) || !s.fn(n.items[i].Key, n.items[i].Value) {
				return false, nil
			}
		}
		return true, nil
	}
	for i := n.kidFor(s.from); i < len(n.kids); i++ {
		if i > 0 && !n.kids[i].key.Less(s.to) {
			return false, nil
		}
		start, next := n.kids[i].key, end
		if i == 0 {
			start = first
		}
		if i+1 < len(n.kids) && n.kids[i+1].key.Less(end) {
			next = n.kids[i+1].key
		}
		if more, err = s.visit(n.kids[i].ref, level-1, start, next); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

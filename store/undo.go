package store

import (
	"context"
	"errors"

	"github.com/coffer-fs/coffer/store/tree"
)

// A snapshot is taken by one item that says so. From then on, whoever changes the
// map first puts what is replaced into the layer of the newest snapshot, unless it
// is there already: so reading a snapshot is reading its layer, then that of the
// next newer one, and so on, and the present state where none of them says anything.
// What lies in layers are items of the map: accounting, cleaning, re-keying, checks,
// the log and recovery deal with them as with all others.
//
// A layer holds items by key: as they were, or that they were absent. Data it holds
// by place: a run of an object and where its bytes are, or that it was a hole. So
// extents may be cut, joined and moved, in a layer or below it, without a snapshot
// changing.

// undoLimit bounds the changes to layers that are recorded with one update, in
// encoded bytes.
const undoLimit = MaxUpdate

// undoer finds what a snapshot must keep of what an update replaces.
type undoer struct {
	v      *tree.View
	layers []*snapshot // the one that keeps it, and newer ones, which are being deleted
	out    []change
	size   int
	err    error // the first, but for those that fetching cures
	missed bool
}

// undo returns the changes to layers that changes need, as many as go into one
// update, and whether these are all. Callers hold mu.
func (s *Store) undo(v *tree.View, changes []change) (undo []change, all bool, err error) {
	keeper := s.snapshots.keeper()
	if keeper < 0 {
		return nil, true, nil
	}
	u := &undoer{v: v, layers: s.snapshots.all[keeper:]}
	all = u.run(changes)
	if u.err == nil && u.missed {
		u.err = tree.ErrMiss
	}
	return u.out, all, u.err
}

// run looks at changes, which are in order, and reports whether it saw all.
func (u *undoer) run(changes []change) bool {
	for len(changes) > 0 {
		k := changes[0].key
		if k.Object >= u.layers[0].objects {
			return true // neither this one nor those behind it existed
		}
		if u.size > undoLimit {
			return false
		}
		n := 1
		if k.Type != TypeExtent {
			u.item(k)
		} else {
			for n < len(changes) && changes[n].key.Object == k.Object && changes[n].key.Type == TypeExtent {
				n++
			}
			u.data(k.Object, changes[:n])
		}
		changes = changes[n:]
	}
	return true
}

// failed takes note of an error, and reports whether there was one.
func (u *undoer) failed(err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, tree.ErrMiss):
		u.missed = true
	case u.err == nil:
		u.err = err
	}
	return true
}

func (u *undoer) add(c change) {
	u.out = append(u.out, c)
	u.size += c.encodedSize()
}

// item keeps the item of k. It goes on when something is missing, so that all of
// that is fetched at once.
func (u *undoer) item(k Key) {
	missing := false
	for _, p := range u.layers {
		held, err := p.layer.holds(u.v, k)
		missing = u.failed(err) || missing
		if held {
			return
		}
	}
	old, ok, err := u.v.Get(k)
	switch keep := u.layers[0].layer; {
	case u.failed(err) || missing:
	case ok:
		u.add(change{keep.key(k), old})
	default:
		u.add(change{keep.absentKey(k), []byte{}})
	}
}

// holds reports whether the layer says anything of the item k, which is no data.
func (l layer) holds(v *tree.View, k Key) (bool, error) {
	_, ok, err := v.Get(l.key(k))
	if ok {
		return true, nil
	}
	_, gone, goneErr := v.Get(l.absentKey(k))
	return gone, errors.Join(err, goneErr)
}

// data keeps what changes to extents of one object replace.
func (u *undoer) data(object uint64, changes []change) {
	var olds, news []span
	for _, c := range changes {
		old, ok, err := u.v.Get(c.key)
		if u.failed(err) {
			continue
		}
		if ok {
			olds = u.appendExtent(olds, c.key, old)
		}
		if c.value != nil {
			news = u.appendExtent(news, c.key, c.value)
		}
	}
	if u.missed || u.err != nil {
		return
	}
	for _, p := range differences(olds, news) {
		rest, err := unheld(u.v, u.layers, object, p)
		if u.failed(err) {
			continue
		}
		for _, p := range rest {
			u.add(p.item(u.layers[0].layer, object))
		}
	}
}

func (u *undoer) appendExtent(spans []span, k Key, value []byte) []span {
	p, err := extentSpan(k, value)
	if u.failed(err) {
		return spans
	}
	return append(spans, p)
}

// unheld returns what of p none of these layers says anything of.
func unheld(v *tree.View, layers []*snapshot, object uint64, p span) ([]span, error) {
	rest := []span{p}
	for _, l := range layers {
		data, holes, err := l.layer.kept(v, object, p.from, p.to)
		if err != nil {
			return nil, err
		}
		for _, taken := range [][]span{data, holes} {
			var left []span
			for _, r := range rest {
				left = append(left, r.without(taken)...)
			}
			rest = left
		}
	}
	return rest, nil
}

// tryUndo records what snapshots must keep of what tx replaces, but for the last
// part, which goes with the update and is returned: an update may replace much more
// than fits beside it. To keep something early changes no snapshot. Callers hold mu.
func (s *Store) tryUndo(v *tree.View, tx *Tx, class spaceClass) ([]change, error) {
	if len(s.snapshots.all) == 0 || tx.own || class == spaceCleaning {
		return nil, nil
	}
	undo, all, err := s.undo(v, tx.changes)
	if err != nil || len(undo) == 0 {
		return nil, err
	}
	if class == spaceFreeing && s.overdrawn() {
		return nil, s.errPinned()
	}
	if all {
		return undo, nil
	}
	if err := s.record(v, undo, class); err != nil {
		return nil, err
	}
	return nil, errWait{func(context.Context) error { return nil }}
}

package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/store/tree"
)

// loadSnapshots takes note of the snapshots that are left in the list.
func (k *Wreck) loadSnapshots() error {
	k.snapshots = snapshotSet{}
	return k.Scan(k.w.ctx, Key{Object: ownObject}, lastKey, func(key Key, value []byte) (bool, error) {
		if bad := k.snapshots.check(change{key, value}); bad != nil {
			k.snapshots.lost = cmp.Or(k.snapshots.lost, bad)
		} else {
			k.snapshots.note(change{key, value})
		}
		return true, nil
	}, func(l LostItems) error {
		k.snapshots.lost = cmp.Or(k.snapshots.lost, l.Damage.Err)
		return nil
	})
}

// Snapshots are those that are left in the list, oldest first, and why there may be
// more: ErrSnapshotList. Then none can be read, since a newer one that is not known of
// may have what it looks for.
func (k *Wreck) Snapshots() (list []Snapshot, lost error) {
	for _, p := range k.snapshots.all {
		if !p.deleting {
			list = append(list, p.public())
		}
	}
	if k.snapshots.lost != nil {
		lost = fmt.Errorf("%w: %w", ErrSnapshotList, k.snapshots.lost)
	}
	return list, lost
}

// KeptLoss is something lost that a snapshot needs, and the present state does not;
// older snapshots may need it too.
type KeptLoss struct {
	Snapshot string
	LostItems
}

// KeptLosses reads all that snapshots alone have, and calls lost for what can't be
// read.
func (k *Wreck) KeptLosses(ctx context.Context, lost func(KeptLoss) error) error {
	for _, p := range k.snapshots.all {
		b := keptBatch{k: k, ctx: ctx, name: p.name, lost: lost}
		err := k.Scan(ctx, p.layer.first(), p.layer.end(), b.item, func(l LostItems) error {
			from, to := plainRange(p.layer, l.From, l.To)
			return lost(KeptLoss{p.name, LostItems{from, to, l.Damage}})
		})
		if err == nil {
			err = b.read()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keptBatch is extents of one layer that are read together.
type keptBatch struct {
	k     *Wreck
	ctx   context.Context
	name  string
	lost  func(KeptLoss) error
	keys  []Key
	reads []Read
}

func (b *keptBatch) item(key Key, value []byte) (more bool, err error) {
	_, plain, gone := splitKey(key)
	if plain.Type != TypeExtent || gone {
		return true, b.ctx.Err()
	}
	e, err := ParseExtent(value)
	if err != nil {
		return true, b.lost(KeptLoss{b.name, LostItems{plain, plain, Damage{Part: PartData, Key: plain, Err: err}}})
	}
	b.keys = append(b.keys, plain)
	b.reads = append(b.reads, Read{Extent: e, Dst: make([]byte, e.Count)})
	if len(b.reads) < 64 {
		return true, nil
	}
	return true, b.read()
}

func (b *keptBatch) read() error {
	errs, err := b.k.Read(b.ctx, b.reads)
	for i, r := range b.reads {
		if err != nil || errs[i] == nil {
			continue
		}
		e, end := r.Extent, b.keys[i]
		begin := end
		begin.Sub -= min(uint64(e.Count), end.Sub)
		err = b.lost(KeptLoss{b.name, LostItems{begin, end, Damage{PartData, end, e.Segment, e.Offset, e.Length, errs[i]}}})
	}
	b.keys, b.reads = b.keys[:0], b.reads[:0]
	return err
}

// plainRange is what keys of a layer in [from, to) stand for, as whole objects.
func plainRange(l layer, from, to Key) (first, end Key) {
	if from.Less(l.first()) {
		from = l.first()
	}
	if l.end().Less(to) {
		to = l.end()
	}
	_, first, _ = splitKey(from)
	first = Key{Object: first.Object}
	end = Key{Object: MaxObject + 1}
	if to != l.end() {
		_, last, gone := splitKey(to)
		end = Key{Object: last.Object}
		if gone || last.Type != 0 || last.Sub != 0 {
			end.Object++
		}
	}
	return first, end
}

// WreckSnapshot is what can still be read of a snapshot of a Wreck. What it can't
// tell from a state of later it tells as lost: where the layer of a newer snapshot is
// damaged, or the present state's part, what lies below is not read for those objects.
// It is used as a Wreck is.
type WreckSnapshot struct {
	k      *Wreck
	view   *tree.View
	layers []layer // as a snapReader's
	end    Key     // behind all that existed
	losses []layerLoss
}

// layerLoss is objects [From, To) of which a layer has lost something.
type layerLoss struct {
	index int // of the layer in layers
	LostItems
}

// Snapshot opens what is left of a snapshot. ErrNoSnapshot, ErrSnapshotList.
func (k *Wreck) Snapshot(ctx context.Context, name string) (*WreckSnapshot, error) {
	if _, err := k.Snapshots(); err != nil {
		return nil, err
	}
	i := k.snapshots.named(name)
	if i < 0 {
		return nil, fmt.Errorf("%q: %w", name, ErrNoSnapshot)
	}
	view, err := k.replayed(ctx)
	if err != nil {
		return nil, err
	}
	r := newSnapReader(view, k.snapshots.all[i:])
	p := &WreckSnapshot{k: k, view: view, layers: r.layers, end: r.end}
	for at, l := range p.layers {
		if err := p.findLosses(ctx, at, l); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(p.losses, func(a, b layerLoss) int { return a.From.Compare(b.From) })
	return p, nil
}

// replayed is the map with the log's changes in it, but for those in parts that are
// lost.
func (k *Wreck) replayed(ctx context.Context) (*tree.View, error) {
	k.s.tree.Unshare() // Scan sees it without
	for _, c := range k.changes {
		v := k.s.tree.Resident()
		_, had, err := v.Get(c.key)
		for errors.Is(err, tree.ErrMiss) {
			if err = v.Fetch(ctx); err == nil {
				_, had, err = v.Get(c.key)
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil: // it is told as lost with the node
		case c.value != nil:
			k.s.tree.Put(v, c.key, c.value)
		case had:
			k.s.tree.Delete(v, c.key)
		}
	}
	return k.s.tree.View(ctx), nil
}

func (p *WreckSnapshot) findLosses(ctx context.Context, at int, l layer) error {
	return p.view.ScanPast(l.first(), l.end(), func(Key, []byte) bool { return true }, func(t tree.Lost) error {
		if isOver(t.Err) || ctx.Err() != nil {
			return cmp.Or(ctx.Err(), t.Err)
		}
		from, to := plainRange(l, t.From, t.To)
		ptr := t.Place.Ptr
		if from.Less(p.end) {
			d := Damage{PartNode, from, ptr.Segment, ptr.Offset, ptr.Length, asDamage(t.Err)}
			p.losses = append(p.losses, layerLoss{at, LostItems{from, to, d}})
		}
		return nil
	})
}

// certain is how many layers, from its own on, tell all that they have of an object,
// and what is lost of the first that does not.
func (p *WreckSnapshot) certain(object uint64) (n int, first LostItems) {
	n = len(p.layers)
	for _, l := range p.losses {
		if l.From.Object <= object && object < l.To.Object && l.index < n {
			n, first = l.index, l.LostItems
		}
	}
	return n, first
}

func (p *WreckSnapshot) reader(n int) snapReader {
	return snapReader{v: p.view, layers: p.layers[:n], end: p.end}
}

// Scan is as that of a Wreck. Parts of the map are told as lost by whole objects.
func (p *WreckSnapshot) Scan(ctx context.Context, from, to Key, fn func(Key, []byte) (bool, error), lost func(LostItems) error) error {
	if p.end.Less(to) {
		to = p.end
	}
	losses := slices.DeleteFunc(slices.Clone(p.losses), func(l layerLoss) bool {
		return l.To.Object <= from.Object || !l.From.Less(to)
	})
	tell := func(before Key) error { // what is lost of objects before that one
		for len(losses) > 0 && losses[0].From.Less(before) {
			if err := lost(losses[0].LostItems); err != nil {
				return err
			}
			losses = losses[1:]
		}
		return nil
	}
	for at := from; at.Less(to); {
		object, ok, err := p.nextObject(at.Object)
		if err != nil || !ok || !(Key{Object: object}).Less(to) {
			return cmp.Or(err, tell(to))
		}
		if err := tell(Key{Object: object + 1}); err != nil {
			return err
		}
		more, err := p.object(ctx, object, from, to, fn, lost)
		if err != nil || !more {
			return err
		}
		at = Key{Object: object + 1}
	}
	return tell(to)
}

// object visits what is certain of one object.
func (p *WreckSnapshot) object(ctx context.Context, object uint64, from, to Key, fn func(Key, []byte) (bool, error), lost func(LostItems) error) (more bool, err error) {
	a, b := Key{Object: object}, Key{Object: object + 1}
	n, first := p.certain(object)
	if n < len(p.layers) {
		if err := lost(LostItems{a, b, first.Damage}); err != nil {
			return false, err
		}
	}
	if n == 0 {
		return true, ctx.Err()
	}
	if a.Less(from) {
		a = from
	}
	if to.Less(b) {
		b = to
	}
	more = true
	var fnErr error
	err = p.reader(n).scan(a, b, func(k Key, v []byte) bool {
		more, fnErr = fn(k, v)
		more = more && fnErr == nil
		return more
	})
	if errors.Is(err, ErrDamaged) && fnErr == nil {
		d := Damage{Part: PartNode, Key: a, Err: err}
		err = lost(LostItems{Key{Object: object}, Key{Object: object + 1}, d})
	}
	return more, cmp.Or(fnErr, err, ctx.Err())
}

// nextObject is the first object from one on of which any layer has an item.
func (p *WreckSnapshot) nextObject(from uint64) (object uint64, ok bool, err error) {
	for _, l := range p.layers {
		err := p.view.ScanPast(l.key(Key{Object: from}), l.end(), func(k Key, _ []byte) bool {
			if _, plain, _ := splitKey(k); !ok || plain.Object < object {
				object, ok = plain.Object, true
			}
			return false
		}, func(t tree.Lost) error { return nil })
		if err != nil {
			return 0, false, err
		}
	}
	return object, ok, nil
}

// Get is as that of a Wreck.
func (p *WreckSnapshot) Get(_ context.Context, key Key) (value []byte, ok bool, err error) {
	n, first := p.certain(key.Object)
	if n > 0 {
		if value, ok, err = p.reader(n).get(key); err != nil || ok {
			return bytes.Clone(value), ok, err
		}
	}
	if n < len(p.layers) && key.Less(p.end) {
		return nil, false, cmp.Or(first.Damage.Err, ErrDamaged)
	}
	return nil, false, nil
}

// Read is as that of a Wreck.
func (p *WreckSnapshot) Read(ctx context.Context, reads []Read) ([]error, error) {
	return p.k.Read(ctx, reads)
}

package store

import (
	"context"
	"fmt"
)

// Limits of what is cloned at once.
const (
	maxCloneItems = MaxUpdate / 4 // encoded bytes
	maxCloneData  = 1 << 20
)

// CloneSnapshot copies what a snapshot holds into another volume, which must be
// empty and is otherwise left alone meanwhile, and makes it durable there. The items
// of object 0 come last, so that what was cut off does not look whole. progress, which
// may be nil, is called now and then with how many bytes of data were copied.
// ErrNoSnapshot; ErrFull if the other one is too small.
func (s *Store) CloneSnapshot(ctx context.Context, id SnapshotID, to *Store, progress func(bytes int64)) error {
	if progress == nil {
		progress = func(int64) {}
	}
	c := &cloner{from: s, id: id, to: to, progress: progress}
	err := c.clone(ctx, Key{Object: 1}, usersEnd)
	if err == nil {
		err = c.clone(ctx, Key{}, Key{Object: 1})
	}
	if err == nil {
		err = to.Commit(ctx)
	}
	if err != nil {
		return fmt.Errorf("clone snapshot: %w", err)
	}
	return nil
}

// cloner is one run of CloneSnapshot.
type cloner struct {
	from, to *Store
	id       SnapshotID
	copied   int64
	progress func(int64)
}

// clonePage is a part of what is cloned.
type clonePage struct {
	items []change
	spans []span   // of data
	owner []uint64 // the object that each belongs to
	data  []byte   // all of it, one behind the other
	next  Key      // where the next page begins
	last  bool
}

func (c *cloner) clone(ctx context.Context, from, to Key) error {
	for last := false; !last; {
		var p clonePage
		err := c.from.ViewSnapshot(ctx, c.id, func(tx *Tx) (err error) {
			p, err = c.read(ctx, tx, from, to)
			return err
		})
		if err == nil {
			err = c.write(ctx, p)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		from, last = p.next, p.last
		c.copied += int64(len(p.data))
		c.progress(c.copied)
	}
	return nil
}

// read returns the page that begins at from.
func (c *cloner) read(ctx context.Context, tx *Tx, from, to Key) (clonePage, error) {
	p := clonePage{last: true}
	size, bytes := 0, 0
	err := tx.Scan(from, to, func(k Key, value []byte) (bool, error) {
		if size >= maxCloneItems || bytes >= maxCloneData {
			p.next, p.last = k, false
			return false, nil
		}
		it := change{k, value}
		size += it.encodedSize()
		if k.Type != TypeExtent {
			p.items = append(p.items, it)
			return true, nil
		}
		e, err := extentSpan(k, value)
		p.spans, p.owner = append(p.spans, e), append(p.owner, k.Object)
		bytes += int(e.to - e.from)
		return true, err
	})
	if err != nil {
		return p, err
	}
	p.data = make([]byte, bytes)
	rest := p.data
	reads := make([]Read, len(p.spans))
	for i, e := range p.spans {
		n := e.to - e.from
		reads[i] = Read{Extent: e.extent, Dst: rest[:n:n]}
		rest = rest[n:]
	}
	return p, c.from.Read(ctx, reads)
}

// write puts a page into the other volume.
func (c *cloner) write(ctx context.Context, p clonePage) error {
	room := int64(len(p.data)) + int64(len(p.spans))*4096
	if err := c.to.Reserve(room); err != nil {
		return err
	}
	defer c.to.Unreserve(room)
	f := c.to.NewFlush()
	defer f.Close()
	changes := p.items
	for rest := p.data; len(p.spans) > 0; {
		n, e := 1, p.spans[0]
		for n < len(p.spans) && p.owner[n] == p.owner[0] && p.spans[n].from == e.to {
			e.to = p.spans[n].to
			n++
		}
		extents, err := f.Seal(ctx, p.owner[0], e.from, rest[:e.to-e.from])
		if err != nil {
			return err
		}
		end := e.from
		for _, x := range extents {
			end += uint64(x.Count)
			changes = append(changes, change{Key{Object: p.owner[0], Type: TypeExtent, Sub: end}, x.Append(nil)})
		}
		rest = rest[e.to-e.from:]
		p.spans, p.owner = p.spans[n:], p.owner[n:]
	}
	update := c.to.UpdateReserved
	if len(p.data) == 0 {
		update = c.to.Update
	}
	return update(ctx, func(tx *Tx) error {
		for _, it := range changes {
			if err := tx.Put(it.key, it.value); err != nil {
				return err
			}
		}
		return nil
	})
}

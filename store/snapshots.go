package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coffer-fs/coffer/store/tree"
)

// SnapshotID names a snapshot for as long as the volume is open, whatever becomes of
// its name.
type SnapshotID uint64

// Snapshot is a state of the volume that is kept.
type Snapshot struct {
	ID   SnapshotID
	Name string
	Time time.Time
	// Bytes were in use when it was taken.
	Bytes int64
}

// snapshotSet is the snapshots of a volume.
type snapshotSet struct {
	all  []*snapshot // oldest first; replaced, never changed
	last uint64      // highest sequence seen
	lost error       // why some may be missing, in a volume opened read-only
}

// keeper is the index of the snapshot that must keep what is replaced now, -1 if
// there is none: the newest that is not being deleted.
func (t snapshotSet) keeper() int {
	for i := len(t.all) - 1; i >= 0; i-- {
		if !t.all[i].deleting {
			return i
		}
	}
	return -1
}

// find returns the index of a snapshot that is not being deleted, or -1.
func (t snapshotSet) find(is func(*snapshot) bool) int {
	return slices.IndexFunc(t.all, func(p *snapshot) bool { return !p.deleting && is(p) })
}

func (t snapshotSet) named(name string) int {
	return t.find(func(p *snapshot) bool { return p.name == name })
}

// freeLayer is the number for a new layer, 0 if there is none left.
func (t snapshotSet) freeLayer() layer {
	used := map[layer]bool{}
	for _, p := range t.all {
		used[p.layer] = true
	}
	for l := layer(1); l <= MaxSnapshots; l++ {
		if !used[l] {
			return l
		}
	}
	return 0
}

// note follows a change, admitted by check, of a snapshot's record.
func (t *snapshotSet) note(c change) {
	all := t.others(c.key)
	if c.value != nil {
		p, err := parseSnapshot(c.key, c.value)
		if err != nil {
			panic("store: record of a snapshot was not checked: " + err.Error())
		}
		all = append(all, p)
		t.last = max(t.last, p.sequence)
	}
	slices.SortFunc(all, func(a, b *snapshot) int { return cmp.Compare(a.sequence, b.sequence) })
	t.all = all
}

// others are the snapshots but that of a record.
func (t *snapshotSet) others(record Key) []*snapshot {
	return slices.DeleteFunc(slices.Clone(t.all), func(p *snapshot) bool { return p.layer.recordKey() == record })
}

// check checks a change of one of the store's own items. ErrDamaged.
func (t *snapshotSet) check(c change) error {
	if c.key.Object != ownObject || c.key.Type != typeSnapshot {
		return fmt.Errorf("item %v is unknown: %w", c.key, ErrDamaged)
	}
	if c.value == nil {
		return nil
	}
	p, err := parseSnapshot(c.key, c.value)
	if err != nil {
		return err
	}
	for _, o := range t.others(c.key) {
		if o.sequence == p.sequence || o.name == p.name && !o.deleting && !p.deleting {
			return fmt.Errorf("snapshots %d and %d, %q, have one sequence or one name: %w", o.layer, p.layer, p.name, ErrDamaged)
		}
	}
	return nil
}

// loadSnapshots reads the records of snapshots. Without all of them nothing can be
// changed, since it would not be known what is to be kept, and no snapshot be read,
// since a newer one may have what it says. The present state needs none of them: so a
// volume that is opened read-only makes do with it. ErrSnapshotList.
func (s *Store) loadSnapshots(ctx context.Context) error {
	defer s.tree.Unused()
	lost, err := s.scanSnapshots(s.tree.View(ctx))
	switch {
	case err != nil:
		return fmt.Errorf("read the list of snapshots: %w", asDamage(err))
	case lost == nil:
		return nil
	case s.host != nil:
		return fmt.Errorf("%w: %w", ErrSnapshotList, lost)
	}
	s.snapshots.lost = lost
	s.logger.Warn("the list of snapshots is damaged: of this volume the present state alone can be read", "error", lost)
	return nil
}

// scanSnapshots takes note of all records that can be read, and returns what was lost
// first. An error says that it can't be known.
func (s *Store) scanSnapshots(v *tree.View) (lost, err error) {
	item := func(k Key, value []byte) bool {
		if bad := s.snapshots.check(change{k, value}); bad != nil {
			lost = cmp.Or(lost, bad)
		} else {
			s.snapshots.note(change{k, value})
		}
		return true
	}
	err = v.ScanPast(Key{Object: ownObject}, lastKey, item, func(l tree.Lost) error {
		if damage := asDamage(l.Err); errors.Is(damage, ErrDamaged) && l.Place.Ptr != s.root.tree { // else all is lost
			lost = cmp.Or(lost, damage)
			return nil
		}
		return l.Err
	})
	return lost, err
}

// listed returns why the list of snapshots can't be relied on. Callers hold mu.
func (s *Store) listed() error {
	if s.snapshots.lost == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrSnapshotList, s.snapshots.lost)
}

// SnapshotsLost returns why the list of snapshots is not whole, nil if it is. It never
// is with a volume that can be changed. ErrSnapshotList.
func (s *Store) SnapshotsLost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listed()
}

// Snapshots lists the snapshots, oldest first.
func (s *Store) Snapshots() []Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Snapshot
	for _, p := range s.snapshots.all {
		if !p.deleting {
			list = append(list, p.public())
		}
	}
	return list
}

func (p *snapshot) public() Snapshot {
	return Snapshot{ID: SnapshotID(p.sequence), Name: p.name, Time: time.Unix(0, p.time), Bytes: int64(p.bytes)}
}

// TakeSnapshot keeps the present state of the map under a name, durably. What it
// costs does not depend on how much there is. objects, which may be nil, returns the
// least object number from which on none was ever used: of those nothing need be
// kept. It may be called several times. ErrSnapshotName, ErrSnapshotExists,
// ErrSnapshots, ErrFull.
func (s *Store) TakeSnapshot(ctx context.Context, name string, objects func(*Tx) (uint64, error)) (Snapshot, error) {
	var p *snapshot
	err := CheckSnapshotName(name)
	if err == nil {
		err = s.attempt(ctx, func(v *tree.View) (err error) {
			p, err = s.tryTake(v, name, objects)
			return err
		})
	}
	if err == nil {
		err = s.Commit(ctx)
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("take snapshot: %w", err)
	}
	return p.public(), nil
}

// tryTake makes one attempt. Callers hold mu.
func (s *Store) tryTake(v *tree.View, name string, objects func(*Tx) (uint64, error)) (*snapshot, error) {
	p := &snapshot{
		layer: s.snapshots.freeLayer(), sequence: s.snapshots.last + 1, time: time.Now().UnixNano(),
		objects: MaxObject + 1, bytes: uint64(s.usedBytes()), name: name,
	}
	if objects != nil {
		n, err := objects(&Tx{base: viewReader{v}})
		if err != nil {
			return nil, err
		}
		p.objects = n
	}
	switch {
	case s.snapshots.named(name) >= 0:
		return nil, fmt.Errorf("%q: %w", name, ErrSnapshotExists)
	case p.layer == 0:
		return nil, fmt.Errorf("%d of %d: %w", len(s.snapshots.all), MaxSnapshots, ErrSnapshots)
	case s.availableBytes() == 0:
		return nil, ErrFull
	}
	return p, s.record(v, []change{{p.layer.recordKey(), p.encode()}}, spaceUser)
}

// ViewSnapshot is View for the state that a snapshot keeps. ErrNoSnapshot.
func (s *Store) ViewSnapshot(ctx context.Context, id SnapshotID, fn func(*Tx) error) error {
	return s.view(ctx, func(v *tree.View) (*Tx, error) {
		if err := s.listed(); err != nil {
			return nil, err
		}
		i := s.snapshots.find(func(p *snapshot) bool { return p.sequence == uint64(id) })
		if i < 0 {
			return nil, ErrNoSnapshot
		}
		return &Tx{base: newSnapReader(v, s.snapshots.all[i:])}, nil
	}, fn)
}

// FindSnapshot returns the snapshot of that name. ErrNoSnapshot.
func (s *Store) FindSnapshot(name string) (Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.listed(); err != nil {
		return Snapshot{}, err
	}
	if i := s.snapshots.named(name); i >= 0 {
		return s.snapshots.all[i].public(), nil
	}
	return Snapshot{}, fmt.Errorf("%q: %w", name, ErrNoSnapshot)
}

// viewAll calls fn with the whole map and the layers that are in it: it is what
// cleaning sees.
func (s *Store) viewAll(ctx context.Context, fn func(*Tx, []layer) error) error {
	layers := []layer{0}
	return s.view(ctx, func(v *tree.View) (*Tx, error) {
		for _, p := range s.snapshots.all {
			layers = append(layers, p.layer)
		}
		return &Tx{base: viewReader{v}, own: true}, nil
	}, func(tx *Tx) error { return fn(tx, layers) })
}

// Held is what a snapshot keeps of what was replaced after it, up to the next newer
// one. Deleting it gives so much back, but for what older snapshots need too.
type Held struct {
	Items int64
	Bytes int64 // of data and of items
}

// SnapshotHeld counts what a snapshot keeps. ErrNoSnapshot.
func (s *Store) SnapshotHeld(ctx context.Context, id SnapshotID) (h Held, err error) {
	var l layer
	begin := func(v *tree.View) (*Tx, error) {
		i := s.snapshots.find(func(p *snapshot) bool { return p.sequence == uint64(id) })
		if i < 0 {
			return nil, ErrNoSnapshot
		}
		l = s.snapshots.all[i].layer
		return &Tx{base: viewReader{v}, own: true}, nil
	}
	err = s.view(ctx, begin, func(tx *Tx) error {
		return tx.Scan(l.first(), l.end(), func(k Key, value []byte) (bool, error) {
			h.Items++
			h.Bytes += int64(tree.KeySize + len(value))
			if k.Type == TypeExtent {
				e, err := ParseExtent(value)
				h.Bytes += int64(e.Count)
				return true, err
			}
			return true, ctx.Err()
		})
	})
	return h, err
}

package store

import (
	"context"
	"sort"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
)

// SKELETON so that fs can be written against the API; replaced by the real store.
type Store struct {
	mu    sync.Mutex
	items []change
	data  map[Extent][]byte
	next  uint32
}

func NewSkeleton() *Store { return &Store{data: map[Extent][]byte{}} }

func (s *Store) get(k Key) ([]byte, bool, error) {
	i := sort.Search(len(s.items), func(i int) bool { return !s.items[i].key.Less(k) })
	if i < len(s.items) && s.items[i].key == k {
		return s.items[i].value, true, nil
	}
	return nil, false, nil
}
func (s *Store) scan(from, to Key, fn func(Key, []byte) bool) error {
	i := sort.Search(len(s.items), func(i int) bool { return !s.items[i].key.Less(from) })
	for ; i < len(s.items) && s.items[i].key.Less(to); i++ {
		if !fn(s.items[i].key, s.items[i].value) {
			return nil
		}
	}
	return nil
}

// View calls fn with a consistent state of the volume. Views run at the same
// time as each other and as updates, whose changes they do not see.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fn(&Tx{base: s})
}

// Update calls fn and then applies its changes as one: after a crash all or
// none of them are there, and none without those of every earlier Update.
// They are durable after the next Commit. Updates are serial.
//
// fn MAY BE CALLED SEVERAL TIMES (when something it reads must first be
// fetched from the host): it must have no other effects than on tx, or reset
// them when it starts. ErrFull if the volume has no room for more.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := &Tx{base: s, writable: true}
	if err := fn(tx); err != nil {
		return err
	}
	if tx.err != nil {
		return tx.err
	}
	for _, c := range tx.changes {
		i := sort.Search(len(s.items), func(i int) bool { return !s.items[i].key.Less(c.key) })
		found := i < len(s.items) && s.items[i].key == c.key
		switch {
		case found && c.value == nil:
			s.items = append(s.items[:i], s.items[i+1:]...)
		case found:
			s.items[i] = c
		case c.value != nil:
			s.items = append(s.items, change{})
			copy(s.items[i+1:], s.items[i:])
			s.items[i] = c
		}
	}
	return nil
}

// UpdateFreeing is Update for changes that make room (unlink, truncate,
// flushing what was reserved): it may use the reserve that a full volume keeps.
func (s *Store) UpdateFreeing(ctx context.Context, fn func(*Tx) error) error {
	return s.Update(ctx, fn)
}

// Commit makes every Update that returned before durable. An error is final:
// the volume has become read-only.
func (s *Store) Commit(ctx context.Context) error { return nil }

// Reserve sets n bytes of room aside for data that will be sealed later, so
// that sealing it can't fail for lack of room. ErrFull.
func (s *Store) Reserve(n int64) error { return nil }

// Unreserve gives back what Reserve took.
func (s *Store) Unreserve(n int64) {}

// Space is the room of a volume, in bytes.
type Space struct {
	Capacity  int64 // the volume's size limit
	Used      int64 // sealed and alive, reserved included
	Available int64 // what can still be written
}

func (s *Store) Space() Space { return Space{Capacity: 1 << 30, Available: 1 << 30} }

// Flush seals data into the log ahead of the Update that will refer to it.
// Until Close the frames it sealed are kept although nothing refers to them.
type Flush struct{ s *Store }

// NewFlush begins a flush. The caller must Close it after its Update.
func (s *Store) NewFlush() *Flush { return &Flush{s} }

// Seal seals p, the bytes of object from offset off on, and returns
// the extents, in order, that hold it: one frame for each MaxFrame bytes. p may
// be reused afterwards. It must not be called inside of Update or View.
// Object and offset must be those under which the extents will be put.
func (f *Flush) Seal(ctx context.Context, object, off uint64, p []byte) ([]Extent, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	var out []Extent
	for len(p) > 0 {
		n := min(len(p), MaxFrame)
		e := Extent{Segment: host.SegmentID(1), Offset: f.s.next, Length: uint32(n), Count: uint32(n)}
		f.s.next++
		f.s.data[e] = append([]byte(nil), p[:n]...)
		out = append(out, e)
		p = p[n:]
	}
	return out, nil
}

// Close lets the frames go: those that no item refers to are dead.
func (f *Flush) Close() {}

// Read is one piece to be read: Dst is filled from Extent, Off bytes into it.
type Read struct {
	Extent Extent
	Off    uint32
	Dst    []byte
}

// Read fills every piece. Neighbouring frames are read in one host call, and
// opened on all cores, so many pieces should be given at once. ErrDamaged.
func (s *Store) Read(ctx context.Context, reads []Read) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range reads {
		e := r.Extent
		st := e.Start
		e.Start, e.Count = 0, e.Length
		copy(r.Dst, s.data[e][st+r.Off:])
	}
	return nil
}

// Close checkpoints and lets go of the volume.
func (s *Store) Close() error { return nil }

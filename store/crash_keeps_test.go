package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/coffer-fs/coffer/store"
)

// keep is a change of the snapshots of a volume. It makes no state of its own.
type keep struct {
	name string
	at   int  // the newest state then: the one that is kept
	gone bool // deleted
}

// moment is how far a history went.
type moment struct {
	state int // number of the newest state
	keeps int // how many changes of snapshots there were
	size  int // index of the size limit
}

// newest is where the history is.
func (h *history) newest() moment { return moment{h.last, len(h.keeps), max(0, len(h.sizes)-1)} }

// atLeast is the later of two moments in every respect.
func (m moment) atLeast(o moment) moment {
	return moment{max(m.state, o.state), max(m.keeps, o.keeps), max(m.size, o.size)}
}

// bounds is between which moments a volume must be.
type bounds struct{ least, most moment }

func (b bounds) String() string { return fmt.Sprintf("%+v to %+v", b.least, b.most) }

// progress is how far a history has come, as others see it.
type progress struct {
	mu sync.Mutex
	bounds
}

// ack notes that all up to m is durable.
func (p *progress) ack(m moment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.least = p.least.atLeast(m)
}

// start notes that all up to m may be.
func (p *progress) start(m moment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = p.most.atLeast(m)
}

func (p *progress) now() bounds {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bounds
}

// kept lists the snapshots that there are after so many changes, oldest first.
func (h *history) kept(changes int) (list []keep) {
	for _, k := range h.keeps[:changes] {
		if k.gone {
			list = slices.DeleteFunc(list, func(o keep) bool { return o.name == k.name })
		} else {
			list = append(list, k)
		}
	}
	return list
}

// look compares everything with the history, snapshots and size included, and
// returns where in it the volume is, which must be within b.
func (h *history) look(s *store.Store, b bounds) (m moment, err error) {
	if m.state, err = h.presentState(s); err != nil {
		return m, err
	}
	if m.state < b.least.state || m.state > b.most.state {
		return m, fmt.Errorf("state %d is found, want %d..%d", m.state, b.least.state, b.most.state)
	}
	if m.keeps, err = h.lookAtKept(s, m.state, b); err != nil {
		return m, fmt.Errorf("state %d: %w", m.state, err)
	}
	m.size, err = h.lookAtSize(s, b)
	return m, err
}

// lookAtKept finds out how many changes of snapshots were made when the volume was
// in a state, and compares all of them.
func (h *history) lookAtKept(s *store.Store, state int, b bounds) (changes int, err error) {
	list := s.Snapshots()
	for changes = min(b.most.keeps, len(h.keeps)); changes >= b.least.keeps; changes-- {
		before := changes == 0 || h.keeps[changes-1].at <= state
		behind := changes == len(h.keeps) || h.keeps[changes].at >= state
		if before && behind && slices.EqualFunc(list, h.kept(changes), func(p store.Snapshot, k keep) bool { return p.Name == k.name }) {
			break
		}
	}
	if changes < b.least.keeps {
		return 0, fmt.Errorf("snapshots %+v are found, which is after none of changes %d to %d of %+v", list, b.least.keeps, b.most.keeps, h.keeps)
	}
	for i, k := range h.kept(changes) {
		if err := h.compareKept(s, list[i].ID, k); err != nil {
			return 0, err
		}
	}
	return changes, nil
}

// compareKept compares all that a snapshot holds.
func (h *history) compareKept(s *store.Store, id store.SnapshotID, k keep) error {
	err := s.ViewSnapshot(bg, id, func(tx *store.Tx) error {
		state, err := h.compare(s, tx)
		if err == nil && state != k.at {
			err = fmt.Errorf("it holds state %d, want %d", state, k.at)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("snapshot %q: %w", k.name, err)
	}
	return nil
}

// lookAtSize returns the index of the limit that the volume has.
func (h *history) lookAtSize(s *store.Store, b bounds) (int, error) {
	if len(h.sizes) == 0 {
		return 0, nil
	}
	capacity := s.Space().Capacity
	for i := min(b.most.size, len(h.sizes)-1); i >= b.least.size; i-- {
		if h.sizes[i] == capacity {
			return i, nil
		}
	}
	return 0, fmt.Errorf("the size is %d bytes, want one of %d from index %d to %d", capacity, h.sizes, b.least.size, b.most.size)
}

// has reports whether there is a snapshot of that name.
func has(s *store.Store, name string) bool {
	_, err := s.FindSnapshot(name)
	return err == nil
}

// take takes a snapshot. It is noted if it is there, even after an error.
func (w *writer) take() error {
	k := keep{name: fmt.Sprintf("s%d", len(w.keeps)), at: w.last}
	objects := func(*store.Tx) (uint64, error) { return 2000, nil } // behind all that a writer has
	if w.r.IntN(2) == 0 {
		objects = nil
	}
	_, err := w.s.TakeSnapshot(bg, k.name, objects)
	if has(w.s, k.name) {
		w.keeps = append(w.keeps, k)
	}
	return err
}

// dropKept deletes one of the snapshots.
func (w *writer) dropKept() error {
	list := w.kept(len(w.keeps))
	k := list[w.r.IntN(len(list))]
	err := w.s.DeleteSnapshot(bg, k.name)
	if !has(w.s, k.name) {
		w.keeps = append(w.keeps, keep{k.name, w.last, true})
	}
	return err
}

// maxKept is how many snapshots a writer has.
const maxKept = 4

// changeKept takes a snapshot or deletes one.
func (w *writer) changeKept() error {
	if n := len(w.kept(len(w.keeps))); n == 0 || n < maxKept && w.r.IntN(2) == 0 {
		return w.take()
	}
	return w.dropKept()
}

// resize gives the volume another limit, if it is not too little.
func (w *writer) resize() error {
	capacity := store.MinCapacity + w.r.Int64N(4*store.MinCapacity)
	if w.r.IntN(2) == 0 {
		capacity = max(store.MinCapacity, w.s.Space().Used+w.r.Int64N(2<<20)) // hardly enough
	}
	w.sizes = append(w.sizes, capacity)
	err := w.s.Resize(bg, capacity)
	if err != nil && w.s.Err() == nil && w.s.Space().Capacity != capacity {
		w.sizes = w.sizes[:len(w.sizes)-1] // it is certain that nothing happened
	}
	var small *store.ErrTooSmall
	if errors.As(err, &small) {
		return nil
	}
	return err
}

package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/tree"
)

// Store is an open volume. Its methods may be called at the same time.
type Store struct {
	// Constant after Open.
	reader      host.Reader
	host        host.Writer // nil if read-only
	logger      *slog.Logger
	volume      [16]byte
	segmentSize int64
	options     Options

	ring   atomic.Pointer[seal.Keyring] // replaced, never changed
	header atomic.Pointer[[]byte]       // for preambles
	keyed  keyed
	frames *frameCache
	anchor anchorage

	closeMu   sync.Mutex
	reapMu    sync.Mutex
	reclaimMu sync.Mutex
	cleanMu   sync.Mutex
	prepareMu sync.Mutex
	ckptMu    sync.Mutex
	rootHash  [32]byte        // of the sealed root swapped last; guarded by ckptMu
	nodes     nodeWriter      // guarded by ckptMu; nodes.seg by mu too
	secret    seal.SlotSecret // of the newest generation's slot; guarded by ckptMu
	syncMu    sync.Mutex
	appendMu  sync.Mutex

	mu             sync.Mutex // guards all below
	tree           *tree.Tree
	table          *table
	log            log
	root           root // the newest one that is durable
	closing        bool // its successor is the last: no batch may follow
	rootVersion    host.Version
	headerVersion  host.Version
	headerSequence uint64
	lastGeneration uint32 // highest that a slot was made for
	unusedSlots    int    // of generations after the newest one that is open
	capacity       int64
	nextSegment    host.SegmentID
	live           int64          // sum over all segments
	reserved       int64          // see Reserve
	making         int            // segments being made and not yet in table
	views          map[uint64]int // active, by the tick they started at
	tick           uint64         // grows with every root, and when segments are reaped
	graves         []grave
	deleted        uint64 // segments so far
	pacing         pacing
	lent           int           // segments that emptying one may take beyond the limit
	released       chan struct{} // closed when a View or a Flush ends; nil if nobody waits
	snapshots      snapshotSet
	failure        error // final
	closed         bool
	committing     chan struct{} // closed when the commit that others wait for ends; nil if there is none

	asked uint64 // batches when syncsOften was asked last

	kicks chan struct{} // wakes the background worker
	work  atomic.Uint32 // kick bits
	uses  atomic.Uint64 // of the volume by its users: Views, Updates, Commits
	done  chan struct{} // closed when the worker and the cleaner have ended

	cleanKicks  chan struct{} // wakes the cleaner
	appendKicks chan struct{} // wakes the appender
	reapKicks   chan struct{} // wakes the reaper of snapshots
	stop        context.CancelFunc
}

// usable returns the error that keeps the volume from being changed, if any.
// Callers hold mu.
func (s *Store) usable() error {
	switch {
	case s.closed:
		return ErrClosed
	case s.failure != nil:
		return s.failure
	case s.host == nil:
		return ErrReadOnly
	}
	return nil
}

// fail makes err final: the volume is read-only from here on. Callers hold mu.
func (s *Store) fail(err error) error {
	if s.failure == nil {
		s.failure = fmt.Errorf("%w after a failure: %w", ErrReadOnly, err)
		s.logger.Error("volume is now read-only", "error", err)
	}
	return s.failure
}

func (s *Store) failNow(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail(err)
}

// Err returns why the volume takes no more changes; nil while it does.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usable()
}

// View calls fn with a constant state of the volume. Views run at the same
// time as each other and as updates, whose changes they do not see. The extents
// found in a View can be read until it ends.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	s.uses.Add(1)
	return s.view(ctx, func(v *tree.View) (*Tx, error) { return &Tx{base: viewReader{v}}, nil }, fn)
}

// view calls fn with what begin, called with mu held, makes of the present state.
func (s *Store) view(ctx context.Context, begin func(*tree.View) (*Tx, error), fn func(*Tx) error) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	v := s.tree.View(ctx)
	tick := s.tick
	s.views[tick]++
	tx, err := begin(v)
	s.mu.Unlock()
	defer s.endView(tick)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return err
	}
	return tx.err
}

func (s *Store) endView(tick uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.views[tick]--; s.views[tick] == 0 {
		delete(s.views, tick)
		if tick < s.oldestView() {
			s.release()
		}
	}
	if len(s.views) == 0 {
		s.tree.Unused()
	}
}

// oldestView is the tick at which the oldest active View started. Callers hold
// mu.
func (s *Store) oldestView() uint64 {
	oldest := uint64(math.MaxUint64)
	for t := range s.views {
		oldest = min(oldest, t)
	}
	return oldest
}

// Update calls fn and then applies its changes as one: after a crash all or
// none of them are there, and none without those of every earlier Update.
// They are durable after the next Commit. Updates are serial.
//
// fn MAY BE CALLED SEVERAL TIMES (when something it reads must first be
// fetched from the host): it must have no other effects than on tx, or reset
// them when it starts. It must not call the store. ErrFull if the volume has no
// room for more.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	return s.update(ctx, fn, spaceUser)
}

// UpdateFreeing is Update for changes that make room (unlink, truncate): it may use
// the reserve that a full volume keeps. While snapshots hold on to what it takes
// away it makes none: then ErrFull, before the reserve is at its end.
func (s *Store) UpdateFreeing(ctx context.Context, fn func(*Tx) error) error {
	return s.update(ctx, fn, spaceFreeing)
}

// UpdateReserved is Update for flushing what Reserve made room for.
func (s *Store) UpdateReserved(ctx context.Context, fn func(*Tx) error) error {
	return s.update(ctx, fn, spaceReserved)
}

// TryUpdateReserved is UpdateReserved for who holds what others need meanwhile: if it
// had to wait for the host, it changes nothing and returns a function that waits, which
// must be called; then it is worth another try.
func (s *Store) TryUpdateReserved(fn func(*Tx) error) (wait func(context.Context) error, err error) {
	first, err := s.attemptOnce(s.resident(), func(v *tree.View) error {
		return s.tryUpdate(v, &Tx{writable: true, base: viewReader{v}}, fn, spaceReserved)
	})
	if first == nil {
		return nil, err
	}
	return func(ctx context.Context) error { return asDamage(first(ctx)) }, nil
}

func (s *Store) update(ctx context.Context, fn func(*Tx) error, class spaceClass) error {
	s.uses.Add(1)
	return s.updateTx(ctx, func() *Tx { return &Tx{writable: true} }, fn, class)
}

// updateOwn is update for the store itself, which sees and changes the items of
// snapshots too, and nothing is kept for these of what it replaces.
func (s *Store) updateOwn(ctx context.Context, fn func(*Tx) error, class spaceClass) error {
	return s.updateTx(ctx, func() *Tx { return &Tx{writable: true, own: true} }, fn, class)
}

func (s *Store) updateTx(ctx context.Context, begin func() *Tx, fn func(*Tx) error, class spaceClass) error {
	if class == spaceUser {
		if err := s.checkRoom(); err != nil {
			return err
		}
	}
	return s.attempt(ctx, func(v *tree.View) error {
		tx := begin()
		tx.base = viewReader{v}
		return s.tryUpdate(v, tx, fn, class)
	})
}

// attempt calls try, with mu held and a view of the present state, until it
// neither misses a node nor has to wait for something.
func (s *Store) attempt(ctx context.Context, try func(*tree.View) error) error {
	v := s.resident()
	for {
		wait, err := s.attemptOnce(v, try)
		if wait == nil {
			return err
		}
		if err := wait(ctx); err != nil {
			return asDamage(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (s *Store) resident() *tree.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tree.Resident()
}

// attemptOnce makes one attempt. If it missed a node or has to wait for something it
// returns what does that, without any lock; it must be called.
func (s *Store) attemptOnce(v *tree.View, try func(*tree.View) error) (wait func(context.Context) error, err error) {
	tick, err := s.tryOnce(v, try)
	var w errWait
	switch {
	case errors.Is(err, tree.ErrMiss):
		return func(ctx context.Context) error {
			defer s.endView(tick)
			return v.Fetch(ctx)
		}, nil
	case errors.As(err, &w):
		return w.wait, nil
	}
	return nil, err
}

// tryOnce makes one attempt. After tree.ErrMiss what is missing is kept on the
// host until endView of the returned tick: a checkpoint in between may have made
// it superfluous.
func (s *Store) tryOnce(v *tree.View, try func(*tree.View) error) (tick uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return 0, err
	}
	s.tree.Rebase(v)
	if err = try(v); errors.Is(err, tree.ErrMiss) {
		tick = s.tick
		s.views[tick]++
	}
	return tick, err
}

// checkRoom refuses what adds to a full volume.
func (s *Store) checkRoom() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if s.availableBytes() == 0 {
		return fmt.Errorf("update: %w", ErrFull)
	}
	return nil
}

// tryUpdate makes one attempt. tree.ErrMiss and errWait ask for another. Callers
// hold mu.
func (s *Store) tryUpdate(v *tree.View, tx *Tx, fn func(*Tx) error, class spaceClass) error {
	err := fn(tx)
	switch {
	case v.Missed():
		return tree.ErrMiss
	case err != nil:
		return err
	case tx.err != nil:
		return tx.err
	case len(tx.changes) == 0:
		return nil
	}
	undo, err := s.tryUndo(v, tx, class)
	if err != nil {
		return err
	}
	return s.record(v, append(undo, tx.changes...), class)
}

// record makes changes, in the log and in the map. Callers hold mu.
func (s *Store) record(v *tree.View, changes []change, class spaceClass) error {
	olds, err := s.prepare(v, changes)
	if err != nil {
		return err
	}
	if s.tree.DirtyBytes() > s.maxDirty() {
		return errWait{s.Checkpoint}
	}
	size := 0
	for _, c := range changes {
		size += c.encodedSize()
	}
	b, err := s.room(0, size, class)
	if err != nil {
		return err
	}
	for _, c := range changes {
		b.records = c.append(b.records)
	}
	s.apply(v, changes, olds)
	s.kickIfDue()
	return nil
}

// prepare checks the changes against the present state and returns the present
// values of their keys, nil where there is none. After it, apply cannot fail.
func (s *Store) prepare(v *tree.View, changes []change) ([][]byte, error) {
	olds := make([][]byte, len(changes))
	var miss error
	for i, c := range changes {
		old, ok, err := v.Get(c.key)
		if err != nil {
			miss = err // go on, to fetch all that is missing at once
			continue
		}
		if ok {
			olds[i] = old
		}
		if c.key.Object >= ownObject {
			if err := s.snapshots.check(c); err != nil {
				return nil, err
			}
			continue
		}
		if c.key.Type != TypeExtent {
			continue
		}
		for _, value := range [][]byte{old, c.value} {
			if err := s.checkExtent(value); err != nil {
				return nil, fmt.Errorf("item %v: %w", c.key, err)
			}
		}
	}
	return olds, miss
}

// checkExtent verifies that an extent lies in a segment of the table.
func (s *Store) checkExtent(value []byte) error {
	if value == nil {
		return nil
	}
	e, err := ParseExtent(value)
	if err != nil {
		return err
	}
	if g := s.table.byID[e.Segment]; g == nil || g.doomed {
		return fmt.Errorf("extent in segment %d, which is not in the volume: %w", e.Segment, ErrDamaged)
	}
	return nil
}

// apply makes prepared changes in the map and in the accounting. Recovery uses
// it too. Callers hold mu.
func (s *Store) apply(v *tree.View, changes []change, olds [][]byte) {
	if len(s.views) > 0 {
		s.tree.Unshare()
	}
	for i, c := range changes {
		if c.key.Object >= ownObject {
			s.snapshots.note(c)
		} else if c.key.Type == TypeExtent {
			s.account(olds[i], -1)
			s.account(c.value, +1)
		}
		switch {
		case c.value != nil:
			s.tree.Put(v, c.key, c.value)
		case olds[i] != nil:
			s.tree.Delete(v, c.key)
		}
	}
}

// account adds sign times what an encoded extent occupies. Callers hold mu.
func (s *Store) account(value []byte, sign int64) {
	if value == nil {
		return
	}
	e, err := ParseExtent(value)
	if err != nil {
		panic("store: extent was not checked: " + err.Error())
	}
	s.addLive(s.table.byID[e.Segment], sign*e.occupies())
}

// viewReader lets a Tx read a tree.View.
type viewReader struct{ v *tree.View }

func (r viewReader) get(k Key) ([]byte, bool, error) {
	b, ok, err := r.v.Get(k)
	return b, ok, asDamage(err)
}

func (r viewReader) scan(from, to Key, fn func(Key, []byte) bool) error {
	return asDamage(r.v.Scan(from, to, fn))
}

// asDamage gives what the tree and the sealed layer call damage this package's
// name.
func asDamage(err error) error {
	if errors.Is(err, tree.ErrDamaged) || errors.Is(err, seal.ErrDamaged) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

func isNotFound(err error) bool { return errors.Is(err, host.ErrNotFound) }

package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/store/tree"
)

// A snapshot is deleted in two steps. One item says that it is being deleted: from
// there on it can't be read, and a crash does not bring it back. Then what is in its
// layer goes to the next older one where that says nothing, or is gone, in updates of
// bounded size, each of which leaves every other snapshot as it is; the last one
// removes the item.

// DeleteSnapshot deletes a snapshot, durably. What it alone held on to becomes free
// little by little: ReapSnapshots waits for that. ErrNoSnapshot.
func (s *Store) DeleteSnapshot(ctx context.Context, name string) error {
	err := s.attempt(ctx, func(v *tree.View) error {
		i := s.snapshots.named(name)
		if i < 0 {
			return fmt.Errorf("%q: %w", name, ErrNoSnapshot)
		}
		p := *s.snapshots.all[i]
		p.deleting = true
		return s.record(v, []change{{p.layer.recordKey(), p.encode()}}, spaceFreeing)
	})
	if err == nil {
		err = s.Commit(ctx)
	}
	if err != nil {
		return fmt.Errorf("delete snapshot: %w", err)
	}
	s.kickReaper()
	return nil
}

func (s *Store) kickReaper() {
	select {
	case s.reapKicks <- struct{}{}:
	default:
	}
}

// reaper is the goroutine that ends deletions.
func (s *Store) reaper(ctx context.Context) {
	s.kickReaper() // what a crash or a close cut off
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.reapKicks:
		}
		err := s.ReapSnapshots(ctx)
		if s.Err() == nil {
			s.warn(ctx, "delete snapshot", err)
		}
	}
}

// ReapSnapshots ends what DeleteSnapshot began. It may be stopped: what is left is
// done later, in this session or in the next.
func (s *Store) ReapSnapshots(ctx context.Context) error {
	s.reapMu.Lock()
	defer s.reapMu.Unlock()
	for more := true; more; {
		err := s.attempt(ctx, func(v *tree.View) (err error) {
			more, err = s.tryReap(v)
			return err
		})
		if err != nil {
			return fmt.Errorf("delete snapshot: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Limits of one update of a deletion.
const (
	maxReapItems = 512
	maxReapBytes = 128 << 10
)

// tryReap makes one step of the oldest deletion, and reports whether there is
// another. Callers hold mu.
func (s *Store) tryReap(v *tree.View) (more bool, err error) {
	var older *snapshot
	for _, p := range s.snapshots.all {
		if p.deleting {
			return s.reapStep(v, p, older)
		}
		older = p
	}
	return false, nil
}

func (s *Store) reapStep(v *tree.View, p, older *snapshot) (more bool, err error) {
	items, err := reapItems(v, p.layer)
	if err != nil {
		return false, err
	}
	if len(items) == 0 {
		return true, s.record(v, []change{{key: p.layer.recordKey()}}, spaceFreeing)
	}
	m := &mover{v: v, older: older}
	for _, it := range items {
		m.move(it)
	}
	if m.err != nil {
		return false, m.err
	}
	return true, s.record(v, m.changes, spaceFreeing)
}

// reapItems returns the first items of a layer.
func reapItems(v *tree.View, l layer) (items []tree.Item, err error) {
	size := 0
	err = v.Scan(l.first(), l.end(), func(k Key, value []byte) bool {
		items = append(items, tree.Item{Key: k, Value: value})
		size += len(value)
		return len(items) < maxReapItems && size < maxReapBytes
	})
	return items, err
}

// mover takes items out of a layer, and lets the next older snapshot, if there is
// one, keep what it needs.
type mover struct {
	v       *tree.View
	older   *snapshot
	changes []change
	err     error
}

// move goes on when something is missing, so that all of that is fetched at once.
func (m *mover) move(it tree.Item) {
	m.changes = append(m.changes, change{key: it.Key})
	_, k, gone := splitKey(it.Key)
	if m.older == nil || k.Object >= m.older.objects {
		return
	}
	if k.Type == TypeExtent {
		m.moveSpan(it)
		return
	}
	held, err := m.older.layer.holds(m.v, k)
	switch {
	case err != nil:
		m.failed(err)
	case held:
	case gone:
		m.changes = append(m.changes, change{m.older.layer.absentKey(k), it.Value})
	default:
		m.changes = append(m.changes, change{m.older.layer.key(k), it.Value})
	}
}

func (m *mover) moveSpan(it tree.Item) {
	_, k, _ := splitKey(it.Key)
	p, err := spanOf(it.Key, it.Value)
	if err != nil {
		m.failed(err)
		return
	}
	rest, err := unheld(m.v, []*snapshot{m.older}, k.Object, p)
	if err != nil {
		m.failed(err)
		return
	}
	for _, p := range rest {
		m.changes = append(m.changes, p.item(m.older.layer, k.Object))
	}
}

// failed keeps the first error, but any other rather than one that fetching cures.
func (m *mover) failed(err error) {
	if m.err == nil || errors.Is(m.err, tree.ErrMiss) {
		m.err = err
	}
}

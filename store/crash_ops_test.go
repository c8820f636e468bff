package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/storetest"
)

// operator is a writer that does all that can be done to a volume.
type operator struct {
	writer
	progress  *progress
	far       *far    // a host process that dies now and then, if there is one
	bucket    *bucket // an object store, if there is one
	plan      operations
	others    sync.WaitGroup // what goes on beside the steps
	migrating atomic.Bool
	mu        sync.Mutex
	otherErr  error
}

// operations says what an operator does beside changes and commits.
type operations struct {
	rekeys    bool // another key now and then, at once or while other things go on
	snapshots bool // snapshots are taken, read, deleted
	resizes   bool
}

func (o *operator) run(steps int) error {
	for range steps {
		if err := o.step(0); err != nil {
			return err
		}
	}
	return nil
}

// wait ends a session.
func (o *operator) wait() error {
	o.others.Wait()
	return o.otherErr
}

func (o *operator) step(depth int) error {
	m := o.newest()
	o.progress.start(moment{m.state + 1, m.keeps, m.size})
	if o.far != nil && o.r.IntN(8) == 0 {
		o.far.countdown.Store(1 + o.r.Int64N(8))
	}
	if o.bucket != nil {
		o.bucket.keep("a step")
	}
	switch p := o.r.IntN(100); {
	case p < 8:
		return o.commit(m)
	case p < 12:
		o.beside(func() error { return o.commit(m) })
		return nil
	case p < 15:
		return unlessFull(o.s.Checkpoint(bg))
	case p < 18 && depth < 2:
		return o.lookBack(depth)
	case p < 20:
		return unlessFull(o.s.EmptyAll(bg))
	case p < 24 && o.plan.rekeys && depth == 0: // a View would keep the old key in use
		return o.rekeyStep()
	case p < 31 && o.plan.snapshots:
		return o.keepStep(depth)
	case p < 34 && o.plan.resizes:
		return o.resizeStep()
	}
	return o.randomChange()
}

func unlessFull(err error) error {
	if errors.Is(err, store.ErrFull) {
		return nil
	}
	return err
}

// beside lets fn go on while there are other steps.
func (o *operator) beside(fn func() error) {
	o.others.Go(func() {
		err := fn()
		o.mu.Lock()
		defer o.mu.Unlock()
		o.otherErr = errors.Join(o.otherErr, err)
	})
}

// commit acknowledges the moment that was the newest when it was called.
func (o *operator) commit(m moment) error {
	err := o.s.Commit(bg)
	if err == nil {
		o.progress.ack(m)
	}
	return err
}

// rekeyStep takes a step of a migration, or lets all of one go on by itself.
func (o *operator) rekeyStep() error {
	switch {
	case !o.migrating.CompareAndSwap(false, true):
		return nil
	case o.r.IntN(3) > 0:
		defer o.migrating.Store(false)
		return unlessFull(nextRekeyStep(o.s))
	}
	o.beside(func() error {
		defer o.migrating.Store(false)
		for range 3 {
			if err := unlessFull(nextRekeyStep(o.s)); err != nil {
				return err
			}
		}
		return nil
	})
	return nil
}

// nextRekeyStep takes one of the three steps to another key.
func nextRekeyStep(s *store.Store) error {
	switch st := s.KeyState(); {
	case st.Older == 0, st.Older == 1 && st.Generation%3 == 0: // another mind now and then
		return s.AddGeneration(bg, storetest.Secret(fmt.Sprint("key ", st.Generation+1)))
	case st.Remaining > 0:
		return s.Rekey(bg, store.RekeyOptions{})
	}
	err := s.Rekey(bg, store.RekeyOptions{})
	if err == nil {
		err = s.DropOldGenerations(bg)
	}
	return err
}

// keepStep takes, reads, or deletes a snapshot.
func (o *operator) keepStep(depth int) error {
	list := o.kept(len(o.keeps))
	switch p := o.r.IntN(8); {
	case p < 2 && depth < 2 && len(list) > 0:
		return o.lookAtOne(list[o.r.IntN(len(list))], depth)
	case p == 2:
		return unlessFull(o.s.ReapSnapshots(bg))
	}
	m := o.newest()
	o.progress.start(moment{m.state, m.keeps + 1, m.size})
	err := o.changeKept()
	if err == nil {
		o.progress.ack(o.newest())
	}
	return unlessFull(err)
}

// resizeStep changes the size.
func (o *operator) resizeStep() error {
	m := o.newest()
	o.progress.start(moment{m.state, m.keeps, m.size + 1})
	err := o.resize()
	if err == nil {
		o.progress.ack(moment{size: o.newest().size})
	}
	return unlessFull(err)
}

// lookBack holds a View over more operations and compares it afterwards.
func (o *operator) lookBack(depth int) error {
	was := o.last
	return o.s.View(bg, func(tx *store.Tx) error { return o.hold(tx, was, depth) })
}

// lookAtOne holds a View of a snapshot over more operations, which may delete it.
func (o *operator) lookAtOne(k keep, depth int) error {
	p, err := o.s.FindSnapshot(k.name)
	if err != nil {
		return err
	}
	return o.s.ViewSnapshot(bg, p.ID, func(tx *store.Tx) error { return o.hold(tx, k.at, depth) })
}

// hold makes a few operations before it compares what tx sees with a state.
func (o *operator) hold(tx *store.Tx, was, depth int) error {
	for range 1 + o.r.IntN(20) {
		if err := o.step(depth + 1); err != nil {
			return err
		}
	}
	state, err := o.compare(o.s, tx)
	if err == nil && state != was {
		err = fmt.Errorf("a View of state %d shows state %d", was, state)
	}
	return err
}

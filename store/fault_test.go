package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// within fails the test, with all stacks, if fn takes longer than any healthy run.
func within(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan bool)
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		buf := make([]byte, 1<<20)
		t.Fatalf("%s does not end:\n%s", what, buf[:runtime.Stack(buf, true)])
	}
}

// TestFaults fails every n-th call of two random workloads, one of them with
// snapshots, changes of size and a migration, without effect, with it and with half
// of it, once and from then on, and checks that what went on is consistent and that
// nothing acknowledged is lost.
//
// Of a long workload the later calls are thinned out; TestCrashFor fails them all.
func TestFaults(t *testing.T) { failAll(t, newSeed(t), 100) }

// failAll returns how many runs it made.
func failAll(t *testing.T, seed uint64, dense int) (runs int) {
	t.Helper()
	for _, sticky := range []bool{false, true} {
		for _, rule := range []faulthost.Rule{
			{Fault: faulthost.FailBefore},
			{Fault: faulthost.FailAfter},
			{Fault: faulthost.FailHalfway},
			{Fault: faulthost.FailAfter, Ops: faulthost.Reads},
		} {
			rule.Sticky = sticky
			runs += failEach(t, rule, seed, dense, operations{})
			runs += failEach(t, rule, seed, dense, operations{rekeys: true, snapshots: true, resizes: true})
		}
	}
	return runs
}

// failEach lets the rule hit the first call, the second, and so on, and fewer
// behind the first dense ones.
func failEach(t *testing.T, rule faulthost.Rule, seed uint64, dense int, plan operations) (runs int) {
	t.Helper()
	for hit := true; hit; rule.Nth += 1 + rule.Nth/dense*8 {
		runs++
		f := &faultRun{rule: rule, seed: seed, plan: plan}
		within(t, fmt.Sprintf("-seed %d: %+v", seed, rule), func() {
			if err := f.run(); err != nil {
				t.Errorf("-seed %d: %+v: %v", seed, rule, err)
			}
		})
		if t.Failed() {
			t.FailNow()
		}
		hit = f.faulty.Hits() > 0
	}
	t.Logf("%+v: all calls before", rule)
	return runs
}

// faultRun is a workload with one fault in it.
type faultRun struct {
	plan   operations
	rule   faulthost.Rule
	seed   uint64
	faulty *faulthost.Host
	volume host.Volume // that fails; of it are errors that are one of these
	errs   []error
	progress
	history
}

// ofFault reports whether the fault explains an error.
func (f *faultRun) ofFault(err error) bool {
	return slices.ContainsFunc(f.errs, func(e error) bool { return errors.Is(err, e) })
}

func (f *faultRun) run() error {
	r := rand.New(rand.NewPCG(f.seed, 3))
	inner := memhost.New(memhost.Options{})
	f.faulty = faulthost.New(inner)
	f.volume, f.errs = f.faulty, []error{faulthost.ErrInjected}
	f.faulty.Add(f.rule)
	return f.runOn(inner, r)
}

// runOn makes a volume and works on it while it fails, and looks at what there is
// without.
func (f *faultRun) runOn(healthy listed, r *rand.Rand) error {
	f.history = *newHistory()
	create := store.CreateOptions{Capacity: 64 << 20, Secret: storetest.Secret("test")}
	f.sizes = []int64{create.Capacity}
	o := store.Options{Unlocker: newestSlot{}, NodeCacheBytes: 1, FrameCacheBytes: 1, CheckpointBytes: 64 << 10, Takeover: true}
	err := store.Create(bg, f.volume, create)
	if err == nil {
		err = f.sessions(o, r)
	}
	if err != nil && !f.ofFault(err) {
		return err
	}
	return f.reopen(healthy, create, o)
}

// sessions opens the volume twice. It returns errors of opening, and all that
// should not be.
func (f *faultRun) sessions(o store.Options, r *rand.Rand) error {
	for range 2 {
		s, err := store.Open(bg, f.volume, o)
		if err != nil {
			return err
		}
		found, err := f.look(s, bounds{f.least, f.newest()})
		if err != nil {
			s.Close()
			return err
		}
		f.history = *f.forkAt(found) // a failed Close may have lost the rest
		f.bounds = bounds{f.newest(), f.newest()}
		w := &operator{writer: writer{history: &f.history, s: s, r: r, keys: 100, slots: 8}, progress: &f.progress, plan: f.plan}
		for range 20 {
			if err := f.tolerate(s, w.step(0)); err != nil {
				s.Close()
				return err
			}
		}
		if err := f.tolerate(s, w.wait()); err != nil {
			return err
		}
		before := s.Err()
		if err := s.Close(); err == nil {
			f.ack(f.newest())
		} else if before != nil && !errors.Is(err, store.ErrReadOnly) {
			return fmt.Errorf("close: %w", err)
		}
	}
	return nil
}

// tolerate returns the errors that should not be: an operation may fail because
// of the fault, but a volume that failed for good says so and can still be
// read.
func (f *faultRun) tolerate(s *store.Store, err error) error {
	if err != nil && !f.ofFault(err) {
		return fmt.Errorf("an error of no fault: %w", err)
	}
	final := s.Err()
	if final == nil {
		return nil
	}
	if !errors.Is(final, store.ErrReadOnly) || !f.ofFault(final) {
		return fmt.Errorf("the final error is: %w", final)
	}
	for _, again := range []error{
		s.Commit(bg), s.Checkpoint(bg), s.Reserve(1),
		s.Update(bg, func(tx *store.Tx) error { return tx.Put(store.Key{}, nil) }),
		justError(s.TakeSnapshot(bg, "late", nil)), s.Resize(bg, 128<<20),
	} {
		if !errors.Is(again, store.ErrReadOnly) {
			return fmt.Errorf("after a failure: %w", again)
		}
	}
	if state, err := f.present(s); err != nil || state != f.last {
		return fmt.Errorf("after a failure state %d is read, want %d: %w", state, f.last, err)
	}
	return nil
}

func justError(_ store.Snapshot, err error) error { return err }

// reopen looks at what a healthy host has.
func (f *faultRun) reopen(inner listed, create store.CreateOptions, o store.Options) error {
	s, err := store.Open(bg, inner, o)
	if errors.Is(err, store.ErrNoVolume) {
		if w, err := inner.Acquire(bg, host.AcquireOptions{Takeover: true}); err != nil || w.Release(bg) != nil {
			return fmt.Errorf("acquire: %w", err)
		}
		if err := store.Create(bg, inner, create); err != nil {
			return fmt.Errorf("create again: %w", err)
		}
		s, err = store.Open(bg, inner, o)
	}
	if err != nil {
		return fmt.Errorf("reopen: %w", err)
	}
	if _, err := f.look(s, bounds{f.least, f.newest()}); err != nil {
		return err
	}
	if err := checked(s, inner); err != nil {
		return err
	}
	return s.Close()
}

// The volume must be read-only after a call that leaves open what the host has.
func TestUncertain(t *testing.T) {
	for _, op := range []faulthost.Ops{faulthost.Append, faulthost.Sync, faulthost.Swap} {
		for _, fault := range []faulthost.Fault{faulthost.FailBefore, faulthost.FailAfter, faulthost.FailHalfway} {
			h := faulthost.New(memhost.New(memhost.Options{}))
			storetest.Create(t, h, 64<<20)
			s := storetest.Open(t, h)
			if err := s.MakeNext(bg); err != nil { // so that the worker calls nothing
				t.Fatal(err)
			}
			put(t, s, 1, "first")
			if err := s.Commit(bg); err != nil {
				t.Fatal(err)
			}
			put(t, s, 2, "second")
			h.Add(faulthost.Rule{Ops: op, Fault: fault})
			err := s.Commit(bg)
			if op == faulthost.Swap {
				err = s.Checkpoint(bg)
			}
			if !errors.Is(err, store.ErrReadOnly) || !errors.Is(err, faulthost.ErrInjected) {
				t.Errorf("method %#x, fault %d: %v", op, fault, err)
			}
			h.Clear()
			if err := s.Commit(bg); !errors.Is(err, store.ErrReadOnly) {
				t.Errorf("method %#x, fault %d: a failed volume commits again: %v", op, fault, err)
			}
			if got := get(t, s, 2); got != "second" {
				t.Errorf("method %#x, fault %d: reads %q after the failure", op, fault, got)
			}
			if err := s.Close(); !errors.Is(err, store.ErrReadOnly) {
				t.Errorf("method %#x, fault %d: close: %v", op, fault, err)
			}
		}
	}
}

// A host without space makes the volume full, not broken.
func TestNoSpace(t *testing.T) {
	inner := memhost.New(memhost.Options{})
	h := faulthost.New(inner)
	storetest.Create(t, h, 64<<20)
	s := storetest.Open(t, h)
	h.Add(faulthost.Rule{Ops: faulthost.Create, Sticky: true, Err: host.ErrNoSpace})
	f := s.NewFlush()
	var err error
	for range 100 {
		if _, err = f.Seal(bg, 7, 0, pool[:store.MaxFrame]); err != nil {
			break
		}
	}
	f.Close()
	if !errors.Is(err, store.ErrFull) || !errors.Is(err, host.ErrNoSpace) {
		t.Fatalf("sealing without space: %v", err)
	}
	if err := s.Commit(bg); err != nil {
		t.Fatalf("commit without space: %v", err)
	}
	h.Clear()
	put(t, s, 1, "again")
	if _, err := s.NewFlush().Seal(bg, 7, 0, pool[:store.MaxFrame]); err != nil {
		t.Fatalf("sealing with space again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, h)
	if got := get(t, s, 1); got != "again" {
		t.Errorf("%q is found", got)
	}
	if err := checked(s, inner); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func put(t *testing.T, s *store.Store, object uint64, value string) {
	t.Helper()
	err := s.Update(bg, func(tx *store.Tx) error {
		return tx.Put(store.Key{Object: object, Type: 1}, []byte(value))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s *store.Store, object uint64) (value string) {
	t.Helper()
	err := s.View(bg, func(tx *store.Tx) error {
		v, _, err := tx.Get(store.Key{Object: object, Type: 1})
		value = string(v)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

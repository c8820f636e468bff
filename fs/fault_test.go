package fs_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// TestFaults fails every n-th host call of a random workload of TestCrash, without
// effect, with it and with half of it, once and from then on. Nothing may panic or
// wait for ever; what was acknowledged is found afterwards, on a healthy host and
// after a power cut; a volume that failed for good refuses changes and can be read.
func TestFaults(t *testing.T) {
	t.Logf("%d runs", failAll(t, newSeed(t)))
}

// failAll returns how many runs it made.
func failAll(t *testing.T, seed uint64) (runs int) {
	t.Helper()
	for _, sticky := range []bool{false, true} {
		for _, rule := range []faulthost.Rule{
			{Fault: faulthost.FailBefore},
			{Fault: faulthost.FailAfter},
			{Fault: faulthost.FailHalfway},
			{Fault: faulthost.FailAfter, Ops: faulthost.Reads},
		} {
			rule.Sticky = sticky
			for hit := true; hit; rule.Nth++ {
				f := newFaultRun(seed)
				within(t, fmt.Sprintf("-seed %d: %+v", seed, rule), func() {
					if err := f.run(rule); err != nil {
						t.Errorf("-seed %d: %+v: %v", seed, rule, err)
					}
				})
				if runs++; t.Failed() {
					t.FailNow()
				}
				hit = f.faulty.Hits() > 0
			}
		}
	}
	return runs
}

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

// faultRun is a workload with one fault in it.
type faultRun struct {
	*recording
	faulty *faulthost.Host
}

func newFaultRun(seed uint64) *faultRun {
	f := &faultRun{recording: newRecording(rand.New(rand.NewPCG(seed, 7)))}
	f.small = false
	f.options.Takeover = true
	f.options.NodeCacheBytes, f.options.FrameCacheBytes = 1, 1
	f.faulty = faulthost.New(f.host)
	return f
}

func (f *faultRun) run(rule faulthost.Rule) error {
	if err := store.Create(bg, f.host, store.CreateOptions{Capacity: 64 << 20, Secret: storetest.Secret("test")}); err != nil {
		return err
	}
	if err := f.format(); err != nil {
		return err
	}
	f.states = [][]line{nil}
	f.faulty.Add(rule)
	st, err := store.Open(bg, f.faulty, f.options)
	if err == nil {
		err = f.session(st)
	}
	if err != nil && !faulted(err) {
		return fmt.Errorf("an error of no fault: %w", err)
	}
	for _, h := range []*memhost.Host{f.host.Clone(), f.host.Clone().Crash(memhost.CrashOptions{Decide: memhost.DropAll})} {
		if err := f.reopen(h); err != nil {
			return err
		}
	}
	return nil
}

// faulted reports whether a fault is why something failed.
func faulted(err error) bool {
	e := fs.Errno(err)
	return errors.Is(err, faulthost.ErrInjected) || e == syscall.EIO || e == syscall.EROFS
}

// session works on an open volume until something fails.
func (f *faultRun) session(st *store.Store) error {
	defer st.Close()
	tree, err := fs.Open(bg, st, f.fs)
	if err != nil {
		return err
	}
	defer tree.Close()
	p := &player{r: f.r, f: tree, m: f.m, unnamedToo: true}
	if err := p.learn(); err != nil {
		return err
	}
	f.states[0] = p.m.dump()
	if err = f.work(p, st); err == nil {
		if err = errors.Join(tree.Close(), st.Close()); err == nil {
			f.acknowledge()
		}
		return err
	}
	f.doubtful = len(f.states) - 1
	if !faulted(err) || st.Err() == nil {
		return err
	}
	return f.failed(p, st)
}

// failed uses a volume that failed for good.
func (f *faultRun) failed(p *player, st *store.Store) error {
	if !errors.Is(st.Err(), store.ErrReadOnly) {
		return fmt.Errorf("the final error is: %w", st.Err())
	}
	for range 10 {
		if err := p.step(); err != nil && !faulted(err) && !errors.Is(err, errModel) {
			return fmt.Errorf("after a failure: %w", err)
		}
	}
	if err := p.f.Sync(); !faulted(err) {
		return fmt.Errorf("after a failure a sync says %w", err)
	}
	if _, err := p.f.TakeSnapshot("late"); !faulted(err) {
		return fmt.Errorf("after a failure a snapshot is taken: %w", err)
	}
	if _, err := dumpTree(p.f); err != nil && !errors.Is(err, faulthost.ErrInjected) {
		return fmt.Errorf("after a failure, reading: %w", err)
	}
	return nil
}

// reopen looks at what a healthy host has.
func (f *faultRun) reopen(h *memhost.Host) error {
	if f.states[0] == nil { // it was never opened
		f.states[0] = newModel().dump()
		f.doubtful = 0
	}
	now := f.now()
	return f.try(fsCut{disk: h, least: f.least, most: now}, h, f.r)
}

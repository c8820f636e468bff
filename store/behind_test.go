package store_test

import (
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// A full batch is appended while the next one is being filled, by nobody who
// waits for it. That it failed is final all the same: no later Commit says that
// all is well.
func TestAppendBehindFails(t *testing.T) {
	for _, fault := range []faulthost.Fault{faulthost.FailBefore, faulthost.FailAfter, faulthost.FailHalfway} {
		h := faulthost.New(memhost.New(memhost.Options{}))
		storetest.Create(t, h, 4<<30) // large segments, so that batches fill up
		s := storetest.Open(t, h)
		if err := s.MakeNext(bg); err != nil { // so that the worker appends nothing
			t.Fatal(err)
		}
		put(t, s, 1, "first")
		if err := s.Commit(bg); err != nil {
			t.Fatal(err)
		}
		h.Add(faulthost.Rule{Ops: faulthost.Append, Fault: fault})
		fl := s.NewFlush()
		var err error
		for off := uint64(0); off < 32<<20 && err == nil; off += 1 << 20 {
			_, err = fl.Seal(bg, 7, off, make([]byte, 1<<20))
		}
		fl.Close()
		if !errors.Is(err, faulthost.ErrInjected) {
			t.Errorf("fault %d: sealing 32 MiB behind a failed append: %v", fault, err)
		}
		for range 2 {
			if err := s.Commit(bg); !errors.Is(err, store.ErrReadOnly) || !errors.Is(err, faulthost.ErrInjected) {
				t.Errorf("fault %d: Commit after it: %v", fault, err)
			}
		}
		if err := s.Close(); err != nil && !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("fault %d: close: %v", fault, err)
		}
	}
}

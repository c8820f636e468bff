package store_test

import (
	"runtime"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// A writer that is ahead of the cleaner waits until the cleaner has gained
// something, and no longer: not for a whole segment to be emptied and deleted.
func TestPace(t *testing.T) {
	v := memhost.New(memhost.Options{Forgetful: true})
	storetest.Create(t, v, 64<<20)
	s := storetest.Open(t, v)
	done := s.Cleans()
	if err := s.MakeNext(bg); err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); s.Ahead() >= 0; n++ { // all of it lives: there is nothing to be cleaned
		if err := writeFile(s, n, pool[:store.MaxFrame]); err != nil {
			t.Fatal(err)
		}
		if err := s.MakeNext(bg); err != nil { // or the worker does it now
			t.Fatal(err)
		}
		if s.Ahead() < 0 {
			if err := s.Checkpoint(bg); err != nil { // or one in the background makes room again
				t.Fatal(err)
			}
		}
	}
	ended := make(chan error)
	go func() { ended <- writeFile(s, 1<<20, pool[:store.MaxFrame]) }()
	waitFor(t, s, ended)
	s.Gained(1)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	done()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// waitFor returns when a writer waits for the cleaner.
func waitFor(t *testing.T, s *store.Store, ended <-chan error) {
	t.Helper()
	for !s.WaitsForCleaner() {
		select {
		case err := <-ended:
			t.Fatalf("a writer that is ahead of the cleaner did not wait: %v", err)
		default:
			runtime.Gosched()
		}
	}
}

package store_test

import (
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// A volume grows and takes more, refuses to become smaller than what is in it,
// and is as small as it says when it did.
func TestResize(t *testing.T) {
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, 8<<20)
	s := storetest.Open(t, v)
	reopen := func(capacity int64) {
		t.Helper()
		if _, err := s.Check(bg, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = storetest.Open(t, v)
		if got := s.Space().Capacity; got != capacity {
			t.Fatalf("capacity is %d, want %d", got, capacity)
		}
	}
	first := fillUp(t, s, 1)
	if err := s.Resize(bg, 32<<20); err != nil {
		t.Fatal(err)
	}
	reopen(32 << 20)
	last := fillUp(t, s, first)
	if last < 4*first {
		t.Errorf("%d objects fit after growing, %d before", last, first)
	}
	var small *store.ErrTooSmall
	if err := s.Resize(bg, 16<<20); !errors.As(err, &small) || small.Needed <= 16<<20 || small.Needed > 32<<20 {
		t.Fatalf("resize of a full volume: %v", err)
	}
	reopen(32 << 20)
	for o := first; o < last; o++ {
		if err := removeFile(s, o); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Resize(bg, 8<<20); err != nil && !errors.As(err, &small) {
		t.Fatal(err)
	} else if err == nil {
		small = &store.ErrTooSmall{Needed: 8 << 20}
	}
	if small.Needed > 12<<20 {
		t.Fatalf("what fitted into 8 MiB needs %d bytes", small.Needed)
	}
	if err := s.Resize(bg, small.Needed); err != nil {
		t.Fatal(err)
	}
	if got, most := len(s.Live()), int(small.Needed>>20); got > most {
		t.Errorf("%d segments are left of %d", got, most)
	}
	reopen(small.Needed)
	for _, n := range []int64{0, -1, store.MinCapacity - 1, store.MaxCapacity + 1} {
		if err := s.Resize(bg, n); err == nil {
			t.Errorf("resize to %d bytes", n)
		}
	}
	if err := s.Resize(bg, 1<<40); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("a million segments: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// The limit changes while others clean by it: the race detector sees whether they mind.
func TestResizeWhileCleaned(t *testing.T) {
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, 16<<20)
	s := storetest.Open(t, v)
	defer s.Close()
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for n := int64(0); ; n++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := s.Resize(bg, (16+n%2)<<20); err != nil {
				done <- err
				return
			}
		}
	}()
	data := make([]byte, fileSize)
	for n := range uint64(1500) {
		if err := writeFile(s, 1+n*7%110, data[:1+n*9973%fileSize]); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

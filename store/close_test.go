package store_test

import (
	"encoding/binary"
	"sync"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// What was committed while the volume was being closed must be there afterwards.
func TestCloseDuringCommits(t *testing.T) {
	for range 50 {
		v := memhost.New(memhost.Options{})
		storetest.Create(t, v, store.MinCapacity)
		s := storetest.Open(t, v)
		const writers = 4
		var acked [writers]uint64
		var wg sync.WaitGroup
		begun := make(chan bool, writers)
		for w := range writers {
			wg.Go(func() { acked[w] = commitUntilClosed(s, uint64(w), begun) })
		}
		for range writers {
			<-begun
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		s = storetest.Open(t, v)
		for w, want := range acked {
			if got := readCounter(t, s, uint64(w)); got < want {
				t.Fatalf("writer %d: %d is found, %d was committed", w, got, want)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// commitUntilClosed counts up in an item of its own and returns what was
// committed last.
func commitUntilClosed(s *store.Store, object uint64, begun chan<- bool) (acked uint64) {
	for i := uint64(1); ; i++ {
		err := s.Update(bg, func(tx *store.Tx) error {
			return tx.Put(store.Key{Object: object}, binary.BigEndian.AppendUint64(nil, i))
		})
		if err == nil {
			err = s.Commit(bg)
		}
		if i == 1 {
			begun <- true
		}
		if err != nil {
			return acked // in the middle of Close any error may come
		}
		acked = i
	}
}

func readCounter(t *testing.T, s *store.Store, object uint64) (n uint64) {
	t.Helper()
	err := s.View(bg, func(tx *store.Tx) error {
		v, ok, err := tx.Get(store.Key{Object: object})
		if ok {
			n = binary.BigEndian.Uint64(v)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

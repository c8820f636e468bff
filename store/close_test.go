package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
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

// slowDeletes is a host whose deletes take until their context ends, if it can.
type slowDeletes struct {
	host.Volume
	begun chan struct{} // has one once a delete waits
}

func (v slowDeletes) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	w, err := v.Volume.Acquire(ctx, o)
	return slowDeleter{w, v.begun}, err
}

type slowDeleter struct {
	host.Writer
	begun chan struct{}
}

func (w slowDeleter) Delete(ctx context.Context, id host.SegmentID) error {
	if ctx.Done() == nil {
		return w.Writer.Delete(ctx, id)
	}
	select {
	case w.begun <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

// What Close cuts short in the background is done by Close, and nothing to warn of.
func TestCloseDuringDelete(t *testing.T) {
	v := slowDeletes{memhost.New(memhost.Options{}), make(chan struct{}, 1)}
	storetest.Create(t, v.Volume, store.MinCapacity)
	var logged bytes.Buffer
	s, err := store.Open(bg, v, store.Options{
		Unlocker: storetest.Unlocker("test"), CheckpointBytes: 64 << 10, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	// From beside: an Update may wait for the checkpoint that waits for the delete.
	closed := make(chan error, 1)
	go func() { <-v.begun; closed <- s.Close() }()
	for i := uint64(0); err == nil; i++ {
		err = s.Update(bg, func(tx *store.Tx) error {
			return tx.Put(store.Key{Object: 1, Type: 1, Sub: i % 100}, make([]byte, 2000))
		})
	}
	if !errors.Is(err, store.ErrClosed) {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if strings.Contains(logged.String(), "delete segment") {
		t.Errorf("%s", &logged)
	}
	s = storetest.Open(t, v.Volume)
	if _, err := s.Check(bg, nil); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

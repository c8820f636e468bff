package store_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// slowHost holds one read up when it is armed.
type slowHost struct {
	*memhost.Host
	armed     atomic.Bool
	held, let chan struct{}
}

func (h *slowHost) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	w, err := h.Host.Acquire(ctx, o)
	return slowWriter{w, h}, err
}

type slowWriter struct {
	host.Writer
	h *slowHost
}

func (w slowWriter) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (int, error) {
	if w.h.armed.CompareAndSwap(true, false) {
		close(w.h.held)
		<-w.h.let
	}
	return w.Writer.Read(ctx, id, off, p)
}

// An Update that waits for a node finds it, although everything was written
// elsewhere meanwhile and the segment is superfluous.
func TestUpdateWhileNodesMove(t *testing.T) {
	const objects = 400
	h := &slowHost{Host: memhost.New(memhost.Options{}), held: make(chan struct{}), let: make(chan struct{})}
	storetest.Create(t, h, 64<<20)
	open := func() *store.Store {
		s, err := store.Open(bg, h, store.Options{Unlocker: storetest.Unlocker("test"), NodeCacheBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	rewrite := func(s *store.Store, version byte) {
		for i := range uint64(objects) {
			if err := putLarge(s, i, version); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Checkpoint(bg); err != nil {
			t.Fatal(err)
		}
	}
	s := open()
	rewrite(s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	h.armed.Store(true)
	done := make(chan error, 1)
	go func() { done <- putLarge(s, objects/2, 9) }()
	<-h.held
	rewrite(s, 2)
	rewrite(s, 3)
	close(h.let)
	if err := <-done; err != nil {
		t.Errorf("update that missed a node: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// putLarge gives an item of an object a value that fills a quarter of a node.
func putLarge(s *store.Store, object uint64, version byte) error {
	return s.Update(bg, func(tx *store.Tx) error {
		k := store.Key{Object: object, Type: 1}
		if _, _, err := tx.Get(k); err != nil {
			return err
		}
		v := make([]byte, 3000)
		v[0] = version
		return tx.Put(k, v)
	})
}

package store_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// counting counts the calls of a host that can append and sync in one.
type counting struct {
	host.Volume
	syncs, both atomic.Int64
}

type countingWriter struct {
	host.Writer
	c *counting
}

func (c *counting) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	w, err := c.Volume.Acquire(ctx, o)
	return countingWriter{w, c}, err
}

func (w countingWriter) Sync(ctx context.Context, ids ...host.SegmentID) error {
	w.c.syncs.Add(1)
	return w.Writer.Sync(ctx, ids...)
}

func (w countingWriter) AppendSync(ctx context.Context, id host.SegmentID, off int64, p []byte, synced ...host.SegmentID) error {
	w.c.both.Add(1)
	return w.Writer.(host.AppendSyncer).AppendSync(ctx, id, off, p, synced...)
}

// A commit is one call where the host can append and sync in one, and is as durable.
func TestCommitIsOneCall(t *testing.T) {
	ctx := context.Background()
	inner := memhost.New(memhost.Options{AppendSync: true})
	storetest.Create(t, inner, store.MinCapacity)
	c := &counting{Volume: inner}
	s := storetest.Open(t, c)
	c.syncs.Store(0)
	c.both.Store(0)
	const commits = 20
	for i := range commits {
		err := s.Update(ctx, func(tx *store.Tx) error {
			return tx.Put(store.Key{Object: 1, Type: 100, Sub: uint64(i)}, []byte("value"))
		})
		if err := errors.Join(err, s.Commit(ctx), s.Commit(ctx)); err != nil { // the second is of nothing
			t.Fatal(err)
		}
	}
	// What opening left to append may go by itself, and the first commit only syncs it.
	if c.both.Load() < commits-1 || c.both.Load()+c.syncs.Load() != commits {
		t.Errorf("%d commits are %d calls of both, and %d syncs", commits, c.both.Load(), c.syncs.Load())
	}
	again := storetest.Open(t, inner.Crash(memhost.CrashOptions{Decide: memhost.DropAll}))
	err := again.View(ctx, func(tx *store.Tx) error {
		for i := range commits {
			if _, found, err := tx.Get(store.Key{Object: 1, Type: 100, Sub: uint64(i)}); err != nil || !found {
				t.Errorf("commit %d: found %v, %v", i, found, err)
			}
		}
		return nil
	})
	if err := errors.Join(err, again.Close()); err != nil {
		t.Fatal(err)
	}
}

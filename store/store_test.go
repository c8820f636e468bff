package store_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

func TestReopen(t *testing.T) {
	ctx := context.Background()
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, 64<<20)
	s := storetest.Open(t, v)
	data := make([]byte, 300<<10)
	rand.NewChaCha8([32]byte{1}).Read(data)
	f := s.NewFlush()
	extents, err := f.Seal(ctx, 7, 0, data)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(ctx, func(tx *store.Tx) error {
		off := uint64(0)
		for _, e := range extents {
			off += uint64(e.Count)
			if err := tx.Put(store.Key{Object: 7, Type: store.TypeExtent, Sub: off}, e.Append(nil)); err != nil {
				return err
			}
		}
		return tx.Put(store.Key{Object: 7, Type: 1}, []byte("hello"))
	}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	check := func(s *store.Store) {
		t.Helper()
		got := make([]byte, len(data))
		err := s.View(ctx, func(tx *store.Tx) error {
			v, ok, err := tx.Get(store.Key{Object: 7, Type: 1})
			if err != nil || !ok || string(v) != "hello" {
				t.Fatalf("got %q %v %v", v, ok, err)
			}
			var reads []store.Read
			err = tx.Scan(store.Key{Object: 7, Type: store.TypeExtent}, store.Key{Object: 7, Type: store.TypeExtent + 1}, func(k store.Key, v []byte) (bool, error) {
				e, err := store.ParseExtent(v)
				reads = append(reads, store.Read{Extent: e, Dst: got[k.Sub-uint64(e.Count) : k.Sub]})
				return true, err
			})
			if err != nil {
				return err
			}
			return s.Read(ctx, reads)
		})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, data) {
			t.Fatal("read other data than was written")
		}
	}
	check(s)
	if err := s.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	check(s)
	// A crash that loses nothing of what was committed.
	crashed := v.Crash(memhost.CrashOptions{Decide: memhost.DropAll})
	s2 := storetest.Open(t, crashed)
	check(s2)
	if err := s2.Close(); err != nil {
		t.Fatal(err)
	}
	s3 := storetest.Open(t, crashed)
	check(s3)
	if err := s3.Close(); err != nil {
		t.Fatal(err)
	}
}

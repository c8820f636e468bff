package store_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/storetest"
)

// BenchmarkCommit writes 4 KiB at a random place of an object of 64 MiB and
// commits, on a real disk: what an fdatasync costs below the filesystem.
func BenchmarkCommit(b *testing.B) {
	const size = 64 << 20
	dir := filepath.Join(b.TempDir(), "v")
	if err := local.Create(dir); err != nil {
		b.Fatal(err)
	}
	v, err := local.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	storetest.Create(b, v, 2<<30)
	s := storetest.Open(b, v)
	data := make([]byte, 4096)
	for b.Loop() {
		if err := overwrite(s, uint64(rand.IntN(size/len(data))*len(data)), data); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// overwrite replaces one block of object 1 and commits.
func overwrite(s *store.Store, off uint64, data []byte) error {
	ctx := context.Background()
	f := s.NewFlush()
	defer f.Close()
	es, err := f.Seal(ctx, 1, off, data)
	if err != nil {
		return err
	}
	err = s.Update(ctx, func(tx *store.Tx) error {
		return tx.Put(store.Key{Object: 1, Type: store.TypeExtent, Sub: off + uint64(len(data))}, es[0].Append(nil))
	})
	if err != nil {
		return err
	}
	return s.Commit(ctx)
}

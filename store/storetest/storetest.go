// Package storetest makes volumes for the tests of the packages above store.
package storetest

import (
	"bytes"
	"context"
	"testing"

	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/seal"
)

// Secret is a fixed key slot for tests, told apart by its name.
func Secret(name string) store.Secret {
	var b [key.Size]byte
	copy(b[:], name)
	k, err := key.FromBytes(b[:])
	if err != nil {
		panic(err)
	}
	return store.Secret{Kind: seal.SlotSpec, Descriptor: []byte(name), Key: k}
}

// Unlocker opens the slot that Secret(name) made.
type Unlocker string

// Unlock implements store.Unlocker.
func (u Unlocker) Unlock(_ context.Context, slots []store.Slot) (int, key.Key, error) {
	for i, s := range slots {
		if bytes.Equal(s.Descriptor, []byte(u)) {
			return i, Secret(string(u)).Key, nil
		}
	}
	return 0, key.Key{}, store.ErrWrongKey
}

// Create makes a volume for Secret("test") on v.
func Create(tb testing.TB, v host.Volume, capacity int64) {
	tb.Helper()
	err := store.Create(context.Background(), v, store.CreateOptions{Capacity: capacity, Secret: Secret("test")})
	if err != nil {
		tb.Fatal(err)
	}
}

// Open opens a volume that Create made.
func Open(tb testing.TB, v host.Volume) *store.Store {
	tb.Helper()
	s, err := store.Open(context.Background(), v, store.Options{Unlocker: Unlocker("test"), Owner: tb.Name()})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// New returns an open volume of 1 GiB in memory, closed at the end of the test
// unless the test did.
func New(tb testing.TB) *store.Store {
	tb.Helper()
	v := memhost.New(memhost.Options{Forgetful: true})
	Create(tb, v, 1<<30)
	s := Open(tb, v)
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

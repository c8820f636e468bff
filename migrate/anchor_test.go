package migrate_test

import (
	"context"
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// movable is an anchor that tells when it is moved.
type movable struct {
	*storetest.Anchor
	moved int
	err   error
}

func (m *movable) Move(context.Context, [16]byte) error {
	m.moved++
	return m.err
}

// M02: the copy from before a migration, and every one from its middle, is
// refused, with either key.
func TestM02_HalfMigratedRollback(t *testing.T) {
	ctx := context.Background()
	anchor := &movable{Anchor: &storetest.Anchor{}}
	h := memhost.New(memhost.Options{})
	from, to := storetest.Secret("test"), storetest.Secret("new")
	if err := store.Create(ctx, h, store.CreateOptions{Capacity: store.MinCapacity, Secret: from, Anchor: anchor}); err != nil {
		t.Fatal(err)
	}
	copies := []*memhost.Host{h.Clone()}
	o := migrate.Options{Host: h, Old: store.Secrets{from}, New: to, Anchor: anchor, AnchorEvery: store.AnchorAtClose,
		Progress: func(migrate.Progress) { copies = append(copies, h.Clone()) }}
	anchor.err = errors.New("not now")
	if _, err := migrate.Run(ctx, o); !errors.Is(err, anchor.err) {
		t.Fatalf("a move that fails: %v", err)
	}
	copies = append(copies, h.Clone())
	anchor.err = nil
	sum, err := migrate.Run(ctx, o)
	if err != nil || sum.Found != migrate.Begun {
		t.Fatalf("%+v, %v", sum, err)
	}
	if sum, err = migrate.Run(ctx, o); err != nil || sum.Found != migrate.Finished || anchor.moved < 3 {
		t.Fatalf("again: %+v, %v, moved %d times", sum, err, anchor.moved)
	}
	for i, c := range copies {
		for _, secrets := range []store.Secrets{{from}, {to}, {from, to}} {
			s, err := store.Open(ctx, c.Clone(), store.Options{Unlocker: secrets, Anchor: anchor, ReadOnly: true})
			if !errors.Is(err, store.ErrRolledBack) && !errors.Is(err, store.ErrWrongKey) {
				t.Errorf("copy %d: %v", i, err)
			}
			if err == nil {
				s.Close()
			}
		}
	}
	s, err := store.Open(ctx, h, store.Options{Unlocker: store.Secrets{to}, Anchor: anchor})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

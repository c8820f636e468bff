package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// twoMigrations asks for another migration while one is under way.
func twoMigrations(*testing.T) error {
	m := &migration{}
	defer m.task.Stop()
	wait := func(ctx context.Context, _ *migrate.Control) (migrate.Summary, error) {
		<-ctx.Done()
		return migrate.Summary{}, ctx.Err()
	}
	return errors.Join(m.start(migrateRequest{Hash: "one"}, wait), m.start(migrateRequest{Hash: "another"}, wait))
}

// tooLate calls a migration off that has come to its end.
func tooLate(t *testing.T) error {
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, store.MinCapacity)
	o := migrate.Options{
		Host: v, Old: storetest.Unlocker("test"), New: storetest.Secret("new"), Control: &migrate.Control{},
		Back: &migrate.Back{Key: storetest.Secret("test")},
	}
	if _, err := migrate.Run(ctx, o); err != nil {
		t.Fatal(err)
	}
	return o.Control.CallOff()
}

// heldByPoint migrates a volume of which there is a point.
func heldByPoint(t *testing.T) error {
	dir := filepath.Join(t.TempDir(), "vol")
	if err := local.Create(dir); err != nil {
		t.Fatal(err)
	}
	v, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	storetest.Create(t, v, store.MinCapacity)
	p, err := v.TakePoint(ctx, host.PointOptions{Name: "kept"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	o := migrate.Options{Host: v, Old: storetest.Unlocker("test"), New: storetest.Secret("new")}
	_, held := migrate.Run(ctx, o)
	if plan, err := migrate.Look(ctx, o); err != nil || plan.Status != migrate.Begun {
		t.Errorf("with the point: %+v, %v", plan, err)
	}
	if err := v.DropPoint(ctx, "kept"); err != nil {
		t.Fatal(err)
	}
	if _, err := migrate.Run(ctx, o); err != nil {
		t.Errorf("without the point: %v", err)
	}
	return held
}

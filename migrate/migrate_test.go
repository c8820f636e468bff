package migrate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

const objects = 40

// content is what object holds.
func content(object uint64) []byte {
	b := make([]byte, 20<<10+object*1000)
	rand.NewChaCha8([32]byte{byte(object)}).Read(b)
	return b
}

// fill makes a volume for storetest.Secret("test") with some objects.
func fill(t *testing.T) *memhost.Host {
	t.Helper()
	ctx := context.Background()
	v := memhost.New(memhost.Options{Spares: 2})
	storetest.Create(t, v, 8<<20)
	s := storetest.Open(t, v)
	for o := uint64(1); o <= objects; o++ {
		f := s.NewFlush()
		extents, err := f.Seal(ctx, o, 0, content(o))
		if err == nil {
			err = s.UpdateFreeing(ctx, func(tx *store.Tx) error { return put(tx, o, extents) })
		}
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return v
}

func put(tx *store.Tx, object uint64, extents []store.Extent) error {
	k := store.Key{Object: object, Type: store.TypeExtent}
	for _, e := range extents {
		k.Sub += uint64(e.Count)
		if err := tx.Put(k, e.Append(nil)); err != nil {
			return err
		}
	}
	return nil
}

// check opens the volume with a key and compares what it holds.
func check(v host.Volume, name string) (err error) {
	ctx := context.Background()
	s, err := store.Open(ctx, v, store.Options{Unlocker: store.Secrets{storetest.Secret(name)}, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, err := s.Check(ctx, nil); err != nil {
		return err
	}
	return s.View(ctx, func(tx *store.Tx) error {
		for o := uint64(1); o <= objects; o++ {
			if err := checkObject(s, tx, o); err != nil {
				return err
			}
		}
		return nil
	})
}

func checkObject(s *store.Store, tx *store.Tx, o uint64) error {
	want := content(o)
	got := make([]byte, len(want))
	var reads []store.Read
	err := tx.Scan(store.Key{Object: o}, store.Key{Object: o + 1}, func(k store.Key, b []byte) (bool, error) {
		e, err := store.ParseExtent(b)
		reads = append(reads, store.Read{Extent: e, Dst: got[k.Sub-uint64(e.Count) : k.Sub]})
		return true, err
	})
	if err != nil {
		return err
	}
	if err := s.Read(context.Background(), reads); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("object %d differs", o)
	}
	return nil
}

func options(v host.Volume) migrate.Options {
	return migrate.Options{Host: v, Old: storetest.Unlocker("test"), New: storetest.Secret("new"), Takeover: true}
}

func TestRun(t *testing.T) {
	ctx := context.Background()
	v := fill(t)
	plan, err := migrate.Look(ctx, options(v))
	if err != nil || plan.Status != migrate.Needed || plan.Progress.TotalBytes < 1<<20 || plan.Progress.DoneBytes != 0 {
		t.Errorf("before: %+v, %v", plan, err)
	}
	o := options(v)
	var last migrate.Progress
	o.Progress = func(p migrate.Progress) { last = p }
	sum, err := migrate.Run(ctx, o)
	if err != nil || sum.Found != migrate.Needed || sum.Bytes < 1<<20 || sum.Took <= 0 {
		t.Errorf("%+v, %v", sum, err)
	}
	if last.DoneBytes != last.TotalBytes || last.TotalBytes < 1<<20 {
		t.Errorf("progress at the end: %+v", last)
	}
	if err := check(v, "new"); err != nil {
		t.Error(err)
	}
	if err := check(v, "test"); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("with the old key: %v", err)
	}
	if plan, err := migrate.Look(ctx, options(v)); err != nil || plan.Status != migrate.Finished {
		t.Errorf("afterwards: %+v, %v", plan, err)
	}
	if sum, err := migrate.Run(ctx, options(v)); err != nil || sum.Found != migrate.Finished || sum.Bytes != 0 {
		t.Errorf("again: %+v, %v", sum, err)
	}
}

func TestRewrap(t *testing.T) {
	ctx := context.Background()
	v := fill(t)
	o := options(v)
	o.Rewrap = true
	for _, want := range []migrate.Status{migrate.Needed, migrate.Finished} {
		if sum, err := migrate.Run(ctx, o); err != nil || sum.Found != want || sum.Bytes != 0 {
			t.Errorf("%+v, %v", sum, err)
		}
	}
	if err := check(v, "new"); err != nil {
		t.Error(err)
	}
	if err := check(v, "test"); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("with the old key: %v", err)
	}
}

func TestRefused(t *testing.T) {
	ctx := context.Background()
	v := fill(t)
	o := options(v)
	o.Old = storetest.Unlocker("another")
	if _, err := migrate.Run(ctx, o); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("with a wrong old key: %v", err)
	}
	o.Old = nil
	if _, err := migrate.Look(ctx, o); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("without an old key: %v", err)
	}
	s := storetest.Open(t, v)
	o = options(v)
	o.Takeover = false
	if _, err := migrate.Run(ctx, o); !errors.Is(err, host.ErrInUse) {
		t.Errorf("while in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := check(v, "test"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A migration that is stopped goes on where it was, and what was begun by sealing
// anew is not ended by rewrapping.
func TestStopAndGoOn(t *testing.T) {
	v := fill(t)
	ctx, cancel := context.WithCancel(context.Background())
	o := options(v)
	o.Progress = func(p migrate.Progress) {
		if p.DoneBytes > 0 {
			cancel()
		}
	}
	if _, err := migrate.Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped: %v", err)
	}
	if err := check(v, "new"); err != nil {
		t.Fatal(err)
	}
	ctx = context.Background()
	plan, err := migrate.Look(ctx, options(v))
	if err != nil || plan.Status != migrate.Begun || plan.Progress.DoneBytes == 0 || plan.Progress.DoneBytes == plan.Progress.TotalBytes {
		t.Errorf("stopped: %+v, %v", plan, err)
	}
	o = options(v)
	o.Rewrap = true
	if _, err := migrate.Run(ctx, o); !errors.Is(err, store.ErrUnfinished) {
		t.Errorf("rewrap: %v", err)
	}
	o = options(v)
	o.Old = nil // no longer needed
	if sum, err := migrate.Run(ctx, o); err != nil || sum.Found != migrate.Begun || sum.Bytes == 0 {
		t.Errorf("going on: %+v, %v", sum, err)
	}
	if err := check(v, "new"); err != nil {
		t.Fatal(err)
	}
}

// Cut off at every call to the host, a volume opens with one of the keys, and the
// next run brings it to the end.
func TestCutOff(t *testing.T) {
	ctx := context.Background()
	for _, rewrap := range []bool{false, true} {
		v := fill(t)
		for n := 0; ; n++ {
			h := v.Clone()
			h.CutAt(n, memhost.Cut(1+n%3))
			o := options(h)
			o.Rewrap = rewrap
			_, err := migrate.Run(ctx, o)
			if err == nil {
				t.Logf("%d cuts", n)
				break
			}
			if !errors.Is(err, memhost.ErrCrashed) {
				t.Fatalf("cut %d: %v", n, err)
			}
			after := h.Crash(memhost.CrashOptions{Seed: uint64(n)})
			if oldErr, newErr := check(after, "test"), check(after, "new"); oldErr != nil && newErr != nil {
				t.Fatalf("cut %d: neither key opens it: %v; %v", n, oldErr, newErr)
			}
			o.Host = after
			if _, err := migrate.Run(ctx, o); err != nil {
				t.Fatalf("cut %d: going on: %v", n, err)
			}
			if err := check(after, "new"); err != nil {
				t.Fatalf("cut %d: at the end: %v", n, err)
			}
			if err := check(after, "test"); !errors.Is(err, store.ErrWrongKey) {
				t.Fatalf("cut %d: at the end the old key: %v", n, err)
			}
		}
	}
}

package store_test

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// closing is a volume whose Close tells of a moment behind its last checkpoint.
type closing struct {
	s       *store.Store
	v       *storetest.Before
	create  atomic.Pointer[func()] // is called at the next create
	moment  func()
	release atomic.Bool // begun
	late    atomic.Int64
}

func openClosing(t *testing.T) *closing {
	t.Helper()
	c := &closing{v: &storetest.Before{Host: memhost.New(memhost.Options{})}}
	storetest.Create(t, c.v.Host, store.MinCapacity)
	c.v.Call = func(call string) {
		if call == "release" {
			c.release.Store(true)
		} else if c.release.Load() {
			c.late.Add(1)
		}
		if strings.HasPrefix(call, "create") {
			if f := c.create.Swap(nil); f != nil {
				(*f)()
			}
		}
	}
	var once sync.Once
	around := func(call string) {
		if c.moment != nil && call == "anchor advance" {
			once.Do(c.moment)
		}
	}
	var err error
	c.s, err = store.Open(bg, c.v, store.Options{
		Unlocker: storetest.Unlocker("test"), Anchor: &storetest.Anchor{Around: around}, AnchorEvery: store.AnchorAtClose, AdoptAnchor: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What comes behind the last checkpoint of a volume is told that it is closed: nothing
// that was accepted there would be there afterwards.
func TestNothingIsAcceptedBehindTheLastCheckpoint(t *testing.T) {
	c := openClosing(t)
	put := func() error {
		return c.s.Update(bg, func(tx *store.Tx) error { return tx.Put(store.Key{Object: 1}, []byte("x")) })
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	c.moment = func() {
		if err := c.s.Checkpoint(bg); !errors.Is(err, store.ErrClosed) {
			t.Errorf("checkpoint: %v", err)
		}
		if err := put(); !errors.Is(err, store.ErrClosed) {
			t.Errorf("update: %v", err)
		}
	}
	if err := c.s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Close gives the volume back when nobody is at work with it any more.
func TestCloseWaitsForWhoMakesASegment(t *testing.T) {
	c := openClosing(t)
	begun, made := make(chan bool), make(chan error, 1)
	if err := c.s.Update(bg, func(tx *store.Tx) error { return tx.Put(store.Key{Object: 1}, []byte("x")) }); err != nil {
		t.Fatal(err)
	}
	c.moment = func() {
		if err := c.s.DeleteNext(bg); err != nil {
			t.Error(err)
		}
		create := func() {
			close(begun)
			for !errors.Is(c.s.Err(), store.ErrClosed) {
				runtime.Gosched()
			}
			for i := 0; i < 10000 && !c.release.Load(); i++ {
				runtime.Gosched() // Close could give it back now
			}
		}
		c.create.Store(&create)
		go func() { made <- c.s.MakeNext(bg) }()
		<-begun
	}
	if err := c.s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-made; err != nil && !errors.Is(err, store.ErrClosed) {
		t.Errorf("make a segment: %v", err)
	}
	if n := c.late.Load(); n > 0 {
		t.Errorf("%d calls of the host after the volume was given back", n)
	}
}

// Who waits for another's commit need not wait until it ends.
func TestCommitEndsWithItsContext(t *testing.T) {
	held, let := make(chan bool), make(chan bool)
	var armed atomic.Bool
	v := &storetest.Before{Host: memhost.New(memhost.Options{}), Call: func(call string) {
		if strings.HasPrefix(call, "sync") && armed.CompareAndSwap(true, false) {
			close(held)
			<-let
		}
	}}
	storetest.Create(t, v.Host, store.MinCapacity)
	s := storetest.Open(t, v)
	if err := s.Update(bg, func(tx *store.Tx) error {
		return tx.Put(store.Key{Object: 1}, binary.BigEndian.AppendUint64(nil, 1))
	}); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- s.Commit(bg) }()
	<-held
	ctx, cancel := context.WithCancel(bg)
	cancel()
	go func() { second <- s.Commit(ctx) }()
	select {
	case err := <-second:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a commit that was called off: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a commit that was called off waits for another's")
	}
	close(let)
	if err := errors.Join(<-first, s.Close()); err != nil {
		t.Fatal(err)
	}
}

// A segment that was made ready under the new key, before the log moved on to it, is
// the one that it moves on to.
func TestAddGenerationLeavesNoSegmentBehind(t *testing.T) {
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, store.MinCapacity)
	var s *store.Store
	var adds atomic.Bool
	around := func(call string) {
		if call == "anchor advance" && adds.CompareAndSwap(true, false) {
			// The first root under the new key is there.
			if err := errors.Join(s.DeleteNext(bg), s.MakeNext(bg)); err != nil {
				t.Error(err)
			}
		}
	}
	s, err := store.Open(bg, v, store.Options{
		Unlocker: storetest.Unlocker("test"), Anchor: &storetest.Anchor{Around: around}, AnchorEvery: store.AnchorAtClose, AdoptAnchor: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	adds.Store(true)
	if err := s.AddGeneration(bg, storetest.Secret("new")); err != nil {
		t.Fatal(err)
	}
	if strays, err := s.Strays(bg); err != nil || len(strays) > 0 {
		t.Errorf("left behind: %v (%v)", strays, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

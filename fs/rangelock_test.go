package fs_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"

	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/fstest"
)

// lockers opens one file several times.
func lockers(t *testing.T, n int) []*cofs.File {
	t.Helper()
	f := fstest.Memory(t)
	var out []*cofs.File
	for range n {
		h, err := f.OpenFile("locked", os.O_RDWR|os.O_CREATE, 0o600)
		must(t, err)
		t.Cleanup(func() { _ = h.Close() })
		out = append(out, h)
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Random locks beside a model that has an owner for every byte.
func TestRangeLocksModel(t *testing.T) {
	seed := newSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 1))
	const owners, size = 3, 12
	fs := lockers(t, owners)
	var model [owners][size + 1]byte // 0 none, 1 shared, 2 exclusive; the last for all that is behind
	free := func(o, from, to int, exclusive bool) bool {
		for other := range owners {
			for i := from; i < to && other != o; i++ {
				if model[other][i] == 2 || model[other][i] == 1 && exclusive {
					return false
				}
			}
		}
		return true
	}
	for step := range 20_000 {
		o, from := rnd.IntN(owners), rnd.IntN(size)
		to := from + 1 + rnd.IntN(size-from)
		exclusive := rnd.IntN(2) == 0
		r := cofs.Range{Off: int64(from), Size: int64(to - from)}
		if rnd.IntN(8) == 0 {
			r.Size, to = 0, size+1
		}
		what := fmt.Sprintf("step %d: owner %d, %+v, exclusive %v", step, o, r, exclusive)
		want := free(o, from, to, exclusive)
		if locked, err := fs[o].Locked(r, exclusive); err != nil || locked == want {
			t.Fatalf("%s: locked %v, %v", what, locked, err)
		}
		if rnd.IntN(2) == 0 {
			must(t, fs[o].Unlock(r))
			clear(model[o][from:to])
			continue
		}
		err := fs[o].TryLock(r, exclusive)
		if want != (err == nil) || err != nil && !errors.Is(err, syscall.EAGAIN) {
			t.Fatalf("%s: %v", what, err)
		}
		for i := from; i < to && want; i++ {
			model[o][i] = 1
			if exclusive {
				model[o][i] = 2
			}
		}
	}
}

// Who waits gets the lock when it is given back, by unlocking or by closing.
func TestRangeLocksWait(t *testing.T) {
	fs := lockers(t, 3)
	all := cofs.Range{}
	must(t, fs[0].Lock(context.Background(), all, true))
	var order sync.Mutex
	var n int
	var wg sync.WaitGroup
	for _, f := range fs[1:] {
		wg.Go(func() {
			if err := f.Lock(context.Background(), all, true); err != nil {
				t.Error(err)
				return
			}
			if !order.TryLock() {
				t.Error("two have the lock")
				return
			}
			n++
			order.Unlock()
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	must(t, fs[0].Unlock(all))
	wg.Wait()
	if n != 2 {
		t.Errorf("%d got it", n)
	}
}

func TestRangeLocksEnd(t *testing.T) {
	fs := lockers(t, 2)
	all := cofs.Range{}
	must(t, fs[0].TryLock(all, false))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- fs[1].Lock(ctx, all, true) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("when its context ended: %v", err)
	}
	must(t, fs[1].Close())
	if err := fs[1].Lock(context.Background(), all, false); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	for _, r := range []cofs.Range{{Off: -1}, {Size: -1}, {Off: 2, Size: math.MaxInt64 - 1}} {
		if err := fs[0].TryLock(r, false); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

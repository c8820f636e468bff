package salvage_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/salvage"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// keptVolume is volume with a snapshot of all that is in it.
func keptVolume(t *testing.T) (*memhost.Host, map[string][]byte) {
	t.Helper()
	h, want, _ := volume(t, rand.New(rand.NewPCG(3, 0)))
	s := storetest.Open(t, h)
	f, err := cofs.Open(bg, s, cofs.Options{})
	must(t, err)
	_, err = f.TakeSnapshot("kept")
	must(t, errors.Join(err, f.Close(), s.Close()))
	return h, want
}

// TestFaultyHost: while calls of the host fail, and while it tells each of its lies,
// what is written is right, or a hole that is told.
func TestFaultyHost(t *testing.T) {
	v, want := keptVolume(t)
	written := 0
	for fault := faulthost.FailBefore; fault <= faulthost.EmptyList; fault++ {
		// A buffer that changes while another goroutine verifies it is a race by intent;
		// store.TestA32_ChangeBufferLater has that lie, one read after the other.
		if fault == faulthost.Hang || fault == faulthost.Pretend || fault == faulthost.ScribbleLater {
			continue
		}
		for _, every := range []int{1, 7} {
			for nth, hit := 0, true; hit; nth += 3 + 2*nth {
				h := faulthost.New(v)
				h.Add(faulthost.Rule{Ops: faulthost.Reads, Fault: fault, Nth: nth, Every: every})
				if salvageFaulty(t, h, []string{"", "kept"}[nth%2], want) {
					written++
				}
				hit = h.Hits() > 0
			}
		}
	}
	if written < 50 {
		t.Errorf("only %d runs came to their end", written)
	}
}

// salvageFaulty reports whether a run came to its end.
func salvageFaulty(t *testing.T, h *faulthost.Host, name string, want map[string][]byte) bool {
	t.Helper()
	known := func(err error) {
		t.Helper()
		for _, e := range []error{store.ErrDamaged, store.ErrNoVolume, store.ErrSnapshotList, store.ErrNoSnapshot, faulthost.ErrInjected} {
			if errors.Is(err, e) {
				return
			}
		}
		t.Fatal(err)
	}
	w, err := wreck(h)
	if err != nil {
		known(err)
		return false
	}
	defer w.Close()
	dir := filepath.Join(scratch(t), "out")
	defer os.RemoveAll(dir)
	sum, err := salvage.Run(bg, w, dir, salvage.Options{Snapshot: name})
	if err != nil {
		known(err)
		return false
	}
	must(t, compare(dir, want, sum))
	return true
}

// A host that does not answer keeps nobody beyond the end of his context.
func TestHangingHost(t *testing.T) {
	v, _ := keptVolume(t)
	for nth, hit := 0, true; hit; nth += 3 + nth {
		h := faulthost.New(v)
		ctx, stop := context.WithCancel(bg) // which the call that hangs ends
		h.Add(faulthost.Rule{Ops: faulthost.Reads, Fault: faulthost.Hang, Nth: nth, Sticky: true, Hit: stop})
		w, err := store.OpenWreck(ctx, h, store.SalvageOptions{Options: store.Options{Unlocker: storetest.Unlocker("test")}})
		if err == nil {
			_, err = salvage.Run(ctx, w, filepath.Join(scratch(t), "out"), salvage.Options{})
			w.Close()
		}
		if hit = h.Hits() > 0; hit && !errors.Is(err, context.Canceled) {
			t.Errorf("call %d hangs: %v", nth, err)
		}
		stop()
	}
}

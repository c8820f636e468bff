package local_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

// These tests stand in for another process in the middle of a call, by holding
// the locks that it would hold.

// moment is longer than any call takes that is not kept waiting.
const moment = 200 * time.Millisecond

func brief(t *testing.T) context.Context {
	short, cancel := context.WithTimeout(ctx, moment)
	t.Cleanup(cancel)
	return short
}

// flocked opens a file of the volume and locks it until the file is closed.
func flocked(t *testing.T, how int, path ...string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(path...), os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	must(t, unix.Flock(int(f.Fd()), how|unix.LOCK_NB))
	return f
}

func claim(t *testing.T, f *os.File) []byte {
	t.Helper()
	p := make([]byte, 8)
	_, err := f.ReadAt(p, 8)
	must(t, err)
	return p
}

func TestTakeoverWaitsForACallUnderWay(t *testing.T) {
	dir := newVolume(t)
	old := acquire(t, dir)
	call := flocked(t, unix.LOCK_SH, dir, "fence")
	v := open(t, dir)
	if _, err := v.Acquire(brief(t), host.AcquireOptions{Takeover: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("takeover during a call: %v", err)
	}
	must(t, old.Create(ctx, 1, capacity))
	must(t, call.Close())
	w, err := v.Acquire(ctx, host.AcquireOptions{Takeover: true})
	must(t, err)
	must(t, w.Release(ctx))
}

func TestCallsWaitForATakeoverUnderWay(t *testing.T) {
	dir := newVolume(t)
	w := acquire(t, dir)
	must(t, w.Create(ctx, 1, capacity))
	takeover := flocked(t, unix.LOCK_EX, dir, "fence")
	_, swap := w.Swap(brief(t), "root", "", nil)
	for what, err := range map[string]error{
		"create": w.Create(brief(t), 2, capacity),
		"append": w.Append(brief(t), 1, 0, []byte("x")),
		"sync":   w.Sync(brief(t), 1),
		"delete": w.Delete(brief(t), 1),
		"swap":   swap,
	} {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s during a takeover: %v", what, err)
		}
	}
	must(t, takeover.Close())
	must(t, w.Append(ctx, 1, 0, []byte("x")))
}

func TestTakeoverClaimsTheFence(t *testing.T) {
	dir := newVolume(t)
	acquire(t, dir)
	call := flocked(t, unix.LOCK_SH, dir, "fence")
	v := open(t, dir)
	taken := make(chan error)
	go func() {
		w, err := v.Acquire(ctx, host.AcquireOptions{Takeover: true})
		if err == nil {
			err = w.Release(ctx)
		}
		taken <- err
	}()
	for bytes.Equal(claim(t, call), make([]byte, 8)) {
		runtime.Gosched()
	}
	must(t, call.Close())
	must(t, <-taken)
}

func TestCallsGiveWayToAClaim(t *testing.T) {
	dir := newVolume(t)
	w := acquire(t, dir)
	turn := flocked(t, unix.LOCK_EX, dir, "turn")
	f := flocked(t, unix.LOCK_UN, dir, "fence")
	_, err := f.WriteAt([]byte("claimed!"), 8)
	must(t, err)
	if err := w.Create(brief(t), 1, capacity); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("create in face of a claim: %v", err)
	}
	// The one who claimed it dies.
	must(t, turn.Close())
	must(t, w.Create(ctx, 1, capacity))
	if got := claim(t, f); !bytes.Equal(got, make([]byte, 8)) {
		t.Errorf("the claim of the dead is still %x", got)
	}
}

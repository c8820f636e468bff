package transfer_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

// A transfer that was to bring a volume to a later point was given up, and the volume is
// used: a migration has the host forget what came of it. While somebody is at it, the
// host says so.
func TestForgetWhatCame(t *testing.T) {
	s := newSource(t, seeded(t))
	first := s.point("first")
	s.change()
	second := s.point("second")
	dir := filepath.Join(t.TempDir(), "copy")
	b, _ := stream(t, first, nil)
	must(t, receive(dir, b))
	if b, _ = stream(t, second, first); receive(dir, b[:len(b)*3/4]) == nil {
		t.Fatal("a test of nothing: all came")
	}
	incoming := filepath.Join(dir, "incoming")
	receiving, err := local.Receive(ctx, dir, manifest(second, first), local.ReceiveOptions{})
	must(t, err)
	v, err := local.Open(dir)
	must(t, err)
	defer v.Close()
	w, err := v.Acquire(ctx, host.AcquireOptions{Takeover: true})
	must(t, err)
	defer func() { must(t, w.Release(ctx)) }()
	for _, more := range []bool{true, false} {
		if err := w.(host.Forgetter).Forget(ctx, more); !errors.Is(err, host.ErrHeld) {
			t.Errorf("beside a transfer: %v", err)
		}
	}
	_ = receiving.Close()
	stranger := filepath.Join(incoming, "stranger")
	must(t, os.WriteFile(stranger, nil, 0o600))
	must(t, w.(host.Forgetter).Forget(ctx, false))
	left, err := os.ReadDir(incoming)
	must(t, err)
	if len(left) != 1 || left[0].Name() != "stranger" {
		t.Errorf("left of it: %v", left)
	}
	if err := receive(dir, b); !errors.Is(err, host.ErrInUse) {
		t.Errorf("the transfer goes on: %v", err)
	}
}

package store_test

import (
	"context"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// rootGate is a host that holds up the next swap of a root when it is armed.
type rootGate struct {
	*memhost.Host
	armed     bool
	held, let chan struct{}
}

func (h *rootGate) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	w, err := h.Host.Acquire(ctx, o)
	return &gatedWriter{w, h}, err
}

type gatedWriter struct {
	host.Writer
	h *rootGate
}

func (w *gatedWriter) Swap(ctx context.Context, name string, old host.Version, value []byte) (host.Version, error) {
	if name == "root" && w.h.armed {
		w.h.armed = false
		close(w.h.held)
		<-w.h.let
	}
	return w.Writer.Swap(ctx, name, old, value)
}

// While a key is added, between the header with the new slot and the first root
// under the new volume key, the log goes on into new segments. The old key still
// opens the volume if it crashes there, so it must open all of the log: segments
// of the log are of the generation of the present root.
func TestLogFollowsTheRootsGeneration(t *testing.T) {
	h := &rootGate{Host: memhost.New(memhost.Options{}), held: make(chan struct{}), let: make(chan struct{})}
	storetest.Create(t, h, 64<<20)
	s, err := store.Open(bg, h, store.Options{Unlocker: store.Secrets{oldSecret}})
	if err != nil {
		t.Fatal(err)
	}
	h.armed = true
	added := make(chan error)
	go func() { added <- s.AddGeneration(bg, newSecret) }()
	<-h.held
	const count = 4 << 20 / fileSize // into the fourth segment
	for o := range uint64(count) {
		if err := writeFile(s, o+1, pool[:fileSize]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(bg); err != nil {
		t.Fatal(err)
	}
	crashed := h.Clone().Crash(memhost.CrashOptions{Decide: memhost.DropAll})
	close(h.let)
	if err := <-added; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []store.Secret{oldSecret, newSecret} {
		s, err := openWith(crashed.Clone(), secret)
		if err != nil {
			t.Fatalf("key %q: %v", secret.Descriptor, err)
		}
		found := 0
		err = s.View(bg, func(tx *store.Tx) error {
			return tx.Scan(store.Key{}, store.Key{Object: count + 1}, func(k store.Key, _ []byte) (bool, error) {
				if k.Sub == fileSize {
					found++
				}
				return true, nil
			})
		})
		if err != nil || found != count {
			t.Errorf("key %q: %d of %d committed objects are there: %v", secret.Descriptor, found, count, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

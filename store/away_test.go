package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/remote"
)

// A host process that stays away for longer than calls wait, and comes back. Whoever
// asked nothing meanwhile notices nothing, and goes on writing. A read meanwhile is an
// error that says so, and works again later. A change meanwhile is final, as any sync
// that failed: the volume is read-only, says why, and has all that was acknowledged when
// it is opened again.
func TestHostStaysAway(t *testing.T) {
	v := newVault(t)
	v.close(t)
	dir, err := os.MkdirTemp("", "coffer")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var process *killable
	start := func() {
		if process, err = serveOn(dir, v.host); err != nil {
			t.Fatal(err)
		}
	}
	start()
	defer func() { process.kill() }()
	far, err := remote.Open(bg, "unix:"+filepath.Join(dir, "s")+"#v", remote.Options{Patience: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	open := func() *store.Store {
		s, err := store.Open(bg, far, store.Options{Unlocker: unlocker, NodeCacheBytes: 1, FrameCacheBytes: 1, Takeover: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	v.s = open()
	v.put(t, 10, content{0, 700})
	v.commit(t)

	process.kill()
	if err := v.readOne(v.s, dataKey(10, 700), v.last); !errors.Is(err, remote.ErrUnreachable) || errors.Is(err, store.ErrDamaged) {
		t.Errorf("read while it is away: %v", err)
	}
	start()
	if err := v.readOne(v.s, dataKey(10, 700), v.last); err != nil {
		t.Errorf("read when it is back: %v", err)
	}
	v.put(t, 11, content{1000, 700})
	v.commit(t)
	acked := v.last

	process.kill()
	err = v.update(v.s, []edit{{key: store.Key{Object: 20, Type: 1}, here: true, content: content{0, 30}}}, false)
	if err == nil {
		err = v.s.Commit(bg)
	}
	if !errors.Is(err, remote.ErrUnreachable) || errors.Is(err, store.ErrDamaged) {
		t.Errorf("commit while it is away: %v", err)
	}
	start()
	if err := v.s.Commit(bg); !errors.Is(err, store.ErrReadOnly) || !errors.Is(err, remote.ErrUnreachable) {
		t.Errorf("commit when it is back: %v", err)
	}
	if err := v.readOne(v.s, dataKey(11, 700), acked); err != nil {
		t.Errorf("read when it is back, after a commit failed: %v", err)
	}
	_ = v.s.Close() // it said what failed
	s := open()
	defer s.Close()
	if state, err := v.present(s); err != nil || state < acked {
		t.Errorf("state %d, want %d: %v", state, acked, err)
	}
}

package fs_test

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// TestBlockedHost has one operation stuck in a call of the host, and does everything
// else meanwhile that does not need the same: nobody holds a lock over that call which
// another operation takes.
func TestBlockedHost(t *testing.T) {
	sync := func(f *fs.FS, _ *store.Store) error { return f.Sync() }
	for name, c := range map[string]struct {
		ops   faulthost.Ops
		stuck func(*fs.FS, *store.Store) error
		// syncs: fsync does not need what is stuck.
		syncs bool
	}{
		"a file is read":           {faulthost.Read, func(f *fs.FS, _ *store.Store) error { _, err := f.ReadFile("cold"); return err }, true},
		"a name is looked up":      {faulthost.Read, func(f *fs.FS, _ *store.Store) error { _, err := f.Stat("deep/name"); return err }, true},
		"a directory is listed":    {faulthost.Read, func(f *fs.FS, _ *store.Store) error { _, err := f.ReadDir("deep"); return err }, true},
		"a batch is appended":      {faulthost.Append, sync, false},
		"a file is synced":         {faulthost.Sync, sync, false},
		"a root is swapped":        {faulthost.Swap, func(_ *fs.FS, s *store.Store) error { return s.Checkpoint(bg) }, true},
		"a checkpoint writes":      {faulthost.Append, func(_ *fs.FS, s *store.Store) error { return s.Checkpoint(bg) }, false},
		"what is dirty is flushed": {faulthost.Read, sync, false},
	} {
		t.Run(name, func(t *testing.T) {
			watchdog(t, time.Minute)
			f, s, g := coldFS(t)
			must(t, f.Mkdir("changed", 0o755)) // for a checkpoint to write
			must(t, writeAt(f, "warm", []byte("dirty"), 5000))
			must(t, writeAt(f, "pieces", make([]byte, fs.BlockSize), 2*pieces*fs.BlockSize-2*fs.BlockSize))
			held, let := g.Arm(c.ops)
			stuck := make(chan error, 1)
			go func() { stuck <- c.stuck(f, s) }()
			select {
			case <-held:
			case err := <-stuck:
				let()
				t.Fatalf("the host was not asked: %v", err)
			}
			meanwhile(t, f)
			if c.syncs {
				must(t, f.Sync())
			}
			let()
			must(t, <-stuck)
			must(t, f.Sync())
			clean(t, f)
		})
	}
}

// pieces is how many extents a file has, so that those of its end are not near its
// inode.
const pieces = 1000

// coldFS is a filesystem just opened, of which nothing is in memory but what
// meanwhile needs.
func coldFS(t *testing.T) (*fs.FS, *store.Store, *faulthost.Gate) {
	t.Helper()
	h := memhost.New(memhost.Options{})
	g := faulthost.NewGate(h)
	open := func() (*fs.FS, *store.Store) {
		s, err := store.Open(bg, g, store.Options{Unlocker: storetest.Unlocker("test"), NodeCacheBytes: 1 << 20})
		must(t, err)
		f, err := fs.Open(bg, s, fs.Options{CommitEvery: time.Hour})
		must(t, err)
		return f, s
	}
	formatted(t, h, 64<<20)
	f, s := open()
	big := bytes.Repeat([]byte("x"), 1<<20)
	for _, name := range []string{"cold", "warm"} {
		must(t, f.WriteFile(name, big, 0o644))
	}
	must(t, f.WriteFile("pieces", nil, 0o644))
	for i := range int64(pieces) {
		must(t, writeAt(f, "pieces", big[:fs.BlockSize], 2*i*fs.BlockSize))
	}
	must(t, f.Mkdir("deep", 0o755))
	for i := range 3000 { // so that there are nodes which nobody else needs
		must(t, f.WriteFile("deep/"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676)), big[:1000], 0o644))
	}
	must(t, f.WriteFile("deep/name", nil, 0o644))
	must(t, f.Close())
	must(t, s.Close())
	f, s = open()
	t.Cleanup(func() {
		must(t, f.Close())
		must(t, s.Close())
	})
	return f, s, g
}

// meanwhile does what must be possible.
func meanwhile(t *testing.T, f *fs.FS) {
	t.Helper()
	for _, name := range []string{"warm", "pieces"} {
		_, err := f.Stat(name)
		must(t, err)
	}
	b, err := f.ReadFile("warm")
	must(t, err)
	if len(b) != 1<<20 || string(b[5000:5005]) != "dirty" {
		t.Errorf("%d bytes, %q", len(b), b[5000:5005])
	}
	_, err = f.ReadDir("/")
	must(t, err)
	must(t, writeAt(f, "warm", []byte("again"), 9000))
	must(t, writeAt(f, "cold", []byte("while it is being read"), 0))
	must(t, f.WriteFile("new", make([]byte, 100_000), 0o644))
	must(t, f.Mkdir("dir", 0o755))
	must(t, f.Rename("new", "dir/new"))
	must(t, f.Link("dir/new", "link"))
	must(t, f.Chmod("link", 0o600))
	must(t, f.Truncate("link", 50))
	must(t, f.Remove("link"))
	file, err := f.OpenFile("warm", os.O_RDWR, 0)
	must(t, err)
	must(t, file.Close())
}

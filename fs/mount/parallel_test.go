package mount_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/mount"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// TestParallel has several programs do everything with a few names, in two trees of
// one mount. What is left must make sense: see newFS.
func TestParallel(t *testing.T) {
	const workers, steps = 8, 250
	dir, seed := mountedAttached(t), rand.Uint64()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			for range steps {
				if err := anything(dir, r); err != nil {
					t.Errorf("seed %d, worker %d: %v", seed, w, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// anything does something that others may overtake.
func anything(dir string, r *rand.Rand) error {
	path := func() string {
		p := dir
		if r.IntN(2) == 0 {
			p += "/in"
		}
		p += "/" + string(rune('a'+r.IntN(3)))
		if r.IntN(2) == 0 {
			p += "/" + string(rune('a'+r.IntN(3)))
		}
		return p
	}
	p, q := path(), path()
	switch r.IntN(12) {
	case 0:
		return raced(os.Mkdir(p, 0o755))
	case 1, 2:
		return raced(unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, uint(r.IntN(3))))
	case 3:
		return raced(os.Remove(p))
	case 4:
		return raced(os.RemoveAll(p))
	case 5:
		return raced(os.Link(p, q))
	case 6:
		_, err := os.ReadDir(p)
		return raced(err)
	case 7:
		return raced(os.Truncate(p, int64(r.IntN(100_000))))
	case 8:
		_, err := os.ReadFile(p)
		return raced(err)
	case 9:
		return raced(written(p, r, (*os.File).Sync))
	}
	return raced(written(p, r, func(*os.File) error { return nil }))
}

func written(p string, r *rand.Rand, then func(*os.File) error) error {
	f, err := os.OpenFile(p, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, r.IntN(80_000)), int64(r.IntN(10_000)))
	return errors.Join(err, then(f), f.Close())
}

func raced(err error) error {
	for _, no := range []syscall.Errno{
		syscall.ENOENT, syscall.EEXIST, syscall.ENOTEMPTY, syscall.ENOTDIR, syscall.EISDIR, syscall.EINVAL, syscall.EXDEV, syscall.EPERM,
	} {
		if errors.Is(err, no) {
			return nil
		}
	}
	return err
}

// TestBlockedRead has one file's data not come from the host, and reads, writes and
// forgets more others meanwhile than there are handles.
func TestBlockedRead(t *testing.T) {
	const others = mount.MaxHandles * 3 / 2
	v := memhost.New(memhost.Options{Forgetful: true})
	g := faulthost.NewGate(v)
	storetest.Create(t, v, 1<<30)
	ctx := context.Background()
	st := storetest.Open(t, v)
	check(t, fs.Format(ctx, st, 0, 0))
	f, err := fs.Open(ctx, st, fs.Options{})
	check(t, err)
	check(t, f.WriteFile("slow", make([]byte, 1<<20), 0o600))
	for i := range others {
		check(t, f.WriteFile(fmt.Sprint(i), []byte("quick"), 0o600))
	}
	check(t, f.Close())
	check(t, st.Close())

	dir := show(t, openFS(t, storetest.Open(t, g)))
	slow := filepath.Join(dir, "slow")
	_, err = os.Stat(slow)
	check(t, err)
	held, let := g.Arm(faulthost.Read)
	read := make(chan error, 1)
	go func() { _, err := os.ReadFile(slow); read <- err }()
	<-held
	for i := range others {
		name := filepath.Join(dir, fmt.Sprint(i))
		if b, err := os.ReadFile(name); err != nil || string(b) != "quick" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if i%10 == 0 {
			check(t, os.Remove(name))
		}
	}
	check(t, os.WriteFile(filepath.Join(dir, "new"), []byte("x"), 0o600))
	check(t, os.Remove(slow))
	let()
	check(t, <-read)
}

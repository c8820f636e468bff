package fstest

import (
	"context"
	"errors"
	iofs "io/fs"
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// memorySize is the capacity of filesystems in memory.
const memorySize = 64 << 20

// Memory returns an empty filesystem on a host in memory, which is closed at the
// end of the test.
func Memory(tb testing.TB) *fs.FS {
	tb.Helper()
	f, closeAll, err := memory()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := closeAll(); err != nil {
			tb.Error(err)
		}
	})
	return f
}

// Attached returns one such filesystem with another at its directory "in", as
// Suite.NewAttached wants it.
func Attached(tb testing.TB) *fs.FS {
	tb.Helper()
	inner, outer := Memory(tb), Memory(tb) // closed in turn, the last first
	err := errors.Join(
		outer.Mkdir(attachedDir, 0o755), outer.WriteFile(attachedDir+"/hidden", nil, 0o600),
		inner.Chmod("/", 0o777|iofs.ModeSticky), outer.Attach(attachedDir, inner))
	if err != nil {
		tb.Fatal(err)
	}
	return outer
}

// Example is Memory for examples, which have no testing.TB: what goes wrong
// panics. The caller calls close.
func Example() (f *fs.FS, close func()) {
	f, closeAll, err := memory()
	if err != nil {
		panic(err)
	}
	return f, func() {
		if err := closeAll(); err != nil {
			panic(err)
		}
	}
}

func memory() (*fs.FS, func() error, error) {
	ctx := context.Background()
	v := memhost.New(memhost.Options{Forgetful: true})
	if err := store.Create(ctx, v, store.CreateOptions{Capacity: memorySize, Secret: storetest.Secret("memory")}); err != nil {
		return nil, nil, err
	}
	st, err := store.Open(ctx, v, store.Options{Unlocker: storetest.Unlocker("memory")})
	if err != nil {
		return nil, nil, err
	}
	if err := fs.Format(ctx, st, 0, 0); err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	f, err := fs.Open(ctx, st, fs.Options{})
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	return f, func() error { return errors.Join(f.Close(), st.Close()) }, nil
}

package fs_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"

	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// newFS returns an empty filesystem on a store in memory.
func newFS(t *testing.T) (*cofs.FS, *store.Store) {
	t.Helper()
	st := storetest.New(t)
	ctx := context.Background()
	if err := cofs.Format(ctx, st, 0, 0); err != nil {
		t.Fatal(err)
	}
	f, err := cofs.Open(ctx, st, cofs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, st
}

func TestBasics(t *testing.T) {
	f, _ := newFS(t)
	if err := f.MkdirAll("a/b/c", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 100, 2048, 2049, 4096, 5000, 32 << 10, 100_000, 3 << 20} {
		want := bytes.Repeat([]byte{byte(size), 1, 2}, size/3+1)[:size]
		if err := f.WriteFile("a/b/file", want, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := f.ReadFile("a/b/file")
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("size %d: read %d bytes, %v", size, len(got), err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if got, err = f.ReadFile("a/b/file"); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("size %d after sync: read %d bytes, %v", size, len(got), err)
		}
	}
	if err := f.Rename("a/b/file", "a/renamed"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stat("a/b/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("stat of the old name: %v", err)
	}
	if err := f.Remove("a"); err == nil {
		t.Fatal("removed a directory that is not empty")
	}
	if err := f.RemoveAll("a"); err != nil {
		t.Fatal(err)
	}
	es, err := f.ReadDir("")
	if err != nil || len(es) != 0 {
		t.Fatalf("root has %d entries, %v", len(es), err)
	}
}

func TestReopenAfterCrash(t *testing.T) {
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, 64<<20)
	st := storetest.Open(t, v)
	ctx := context.Background()
	if err := cofs.Format(ctx, st, 0, 0); err != nil {
		t.Fatal(err)
	}
	f, err := cofs.Open(ctx, st, cofs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.WriteFile("kept", []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	open, err := f.OpenFile("unlinked", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Write(make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove("unlinked"); err != nil {
		t.Fatal(err)
	}
	if n, err := open.ReadAt(make([]byte, 10), 0); n != 10 {
		t.Fatalf("unlinked and open: read %d, %v", n, err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	v2 := v.Crash(memhost.CrashOptions{Decide: memhost.DropAll})
	st2 := storetest.Open(t, v2)
	f2, err := cofs.Open(ctx, st2, cofs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := f2.ReadFile("kept"); err != nil || string(b) != "kept" {
		t.Fatalf("read %q, %v", b, err)
	}
	if stat, err := f2.Tree().StatFS(ctx); err != nil || stat.Inodes-stat.FreeInodes != 2 {
		t.Fatalf("after the orphan is gone: %+v, %v", stat, err)
	}
	if err := f2.Close(); err != nil {
		t.Fatal(err)
	}
	if err := st2.Close(); err != nil {
		t.Fatal(err)
	}
}

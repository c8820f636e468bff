package fs_test

import (
	"runtime"
	"testing"
	"weak"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// What a volume held in memory is free once it is closed, at the first collection:
// a program that opens one after the other would otherwise have several.
func TestClosedIsFreed(t *testing.T) {
	before := runtime.NumGoroutine()
	tree := closedTree(t)
	for i := 0; i < 1<<20 && runtime.NumGoroutine() > before; i++ {
		runtime.Gosched() // those that were waited for are still ending
	}
	runtime.GC()
	if tree.Value() != nil {
		t.Error("a closed filesystem outlived a collection of garbage")
	}
}

//go:noinline
func closedTree(t *testing.T) weak.Pointer[fs.Tree] {
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, 64<<20)
	st := storetest.Open(t, v)
	must(t, fs.Format(bg, st, 0, 0))
	f, err := fs.Open(bg, st, fs.Options{})
	must(t, err)
	must(t, f.WriteFile("a name that is hashed", nil, 0o600))
	must(t, f.Close())
	must(t, st.Close())
	return weak.Make(f.Tree())
}

package local_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

const capacity = 1 << 20

var ctx = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newVolume makes an empty volume.
func newVolume(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "volume")
	must(t, local.Create(dir))
	return dir
}

func open(t testing.TB, dir string) *local.Volume {
	t.Helper()
	v, err := local.Open(dir)
	must(t, err)
	t.Cleanup(func() { must(t, v.Close()) })
	return v
}

func acquire(t testing.TB, dir string) host.Writer {
	t.Helper()
	w, err := open(t, dir).Acquire(ctx, host.AcquireOptions{Owner: t.Name()})
	must(t, err)
	t.Cleanup(func() { must(t, w.Release(ctx)) })
	return w
}

// names lists a directory.
func names(t testing.TB, path ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(path...))
	must(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

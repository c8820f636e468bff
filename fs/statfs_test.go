package fs_test

import (
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// What is used is what the files take, and nothing of it is what the volume keeps for
// its own needs.
func TestStatFSUsed(t *testing.T) {
	const file, capacity = 8 << 20, 64 << 20
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, capacity)
	st := storetest.Open(t, v)
	must(t, fs.Format(bg, st, 0, 0))
	f, err := fs.Open(bg, st, fs.Options{})
	must(t, err)
	used := func() int64 {
		s, err := f.Tree().StatFS(bg)
		must(t, err)
		if s.Bytes > capacity || s.FreeBytes > s.Bytes {
			t.Errorf("%+v of a volume of %d", s, capacity)
		}
		return s.Bytes - s.FreeBytes
	}
	if n := used(); n > 64<<10 {
		t.Errorf("%d bytes of an empty filesystem are used", n)
	}
	must(t, f.WriteFile("file", make([]byte, file), 0o600))
	if n := used(); n < file || n > file+file/8 {
		t.Errorf("%d bytes are used by one file of %d", n, file)
	}
	must(t, f.Remove("file"))
	if n := used(); n > 256<<10 {
		t.Errorf("%d bytes are used after the file was removed", n)
	}
	must(t, f.Close())
	must(t, st.Close())
}

package fs_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// TestReadAhead reads a file in small pieces, and counts the calls to the host.
func TestReadAhead(t *testing.T) {
	v := memhost.New(memhost.Options{})
	formatted(t, v, 64<<20)
	f := opened(t, v, fs.Options{})
	want := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{}).Read(want)
	if err := errors.Join(f.WriteFile("f", want, 0o600), f.Close()); err != nil {
		t.Fatal(err)
	}
	v = v.Crash(memhost.CrashOptions{Decide: memhost.DropAll})
	st := storetest.Open(t, v)
	f, err := fs.Open(bg, st, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := v.Stats().Calls[memhost.OpRead]
	file, err := f.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := io.CopyBuffer(&got, struct{ io.Reader }{file}, make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatal("read something else")
	}
	if calls := v.Stats().Calls[memhost.OpRead] - before; calls > 40 {
		t.Errorf("%d calls for 8 MiB", calls)
	}
	// A mount keeps handles long after whoever read has gone.
	if n := fs.AheadBytes(f); n != 0 {
		t.Errorf("%d bytes are kept behind the end", n)
	}
	if err := errors.Join(file.Close(), f.Close(), st.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestReadAheadSees changes a file between small reads of it, by another handle.
func TestReadAheadSees(t *testing.T) {
	f, _ := newFS(t)
	model := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(model)
	if err := f.WriteFile("f", model, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := f.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	writer, err := f.OpenFile("f", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	p := make([]byte, 1000)
	for off, step := 0, 0; off < len(model); step++ {
		n, err := reader.Read(p)
		if err != nil || !bytes.Equal(p[:n], model[off:off+n]) {
			t.Fatalf("at %d: %d bytes that are wrong, %v", off, n, err)
		}
		off += n
		switch at := int64(off + 500); {
		case off+2000 > len(model):
		case step%3 == 0:
			copy(model[at:], "changed")
			_, err = writer.WriteAt([]byte("changed"), at)
		case step%50 == 1:
			clear(model[at : at+100])
			err = writer.Allocate(fs.AllocPunchHole|fs.AllocKeepSize, at, 100)
		case step%50 == 2:
			model = model[:len(model)-1000]
			err = writer.Truncate(int64(len(model)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n, err := reader.Read(p); n != 0 || err != io.EOF {
		t.Fatalf("at the end: %d, %v", n, err)
	}
}

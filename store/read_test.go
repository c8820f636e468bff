package store_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/storetest"
)

// An extent that names a frame with another length is damage, also when the
// frame is in the cache under its own.
func TestReadOtherLength(t *testing.T) {
	s := storetest.New(t)
	f := s.NewFlush()
	defer f.Close()
	extents, err := f.Seal(bg, 7, 0, bytes.Repeat([]byte("x"), 1000))
	if err != nil {
		t.Fatal(err)
	}
	e := extents[0]
	if err := s.Read(bg, []store.Read{{Extent: e.Slice(0, 10), Dst: make([]byte, 10)}}); err != nil {
		t.Fatal(err)
	}
	e.Length, e.Start, e.Count = 5000, 4000, 500
	if err := s.Read(bg, []store.Read{{Extent: e, Dst: make([]byte, 500)}}); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("error %v, want damage", err)
	}
}

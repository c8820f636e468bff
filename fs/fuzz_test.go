package fs_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
)

// fuzzRoundTrip wants a decoder to refuse with ErrDamaged, or to have understood
// every byte.
func fuzzRoundTrip(f *testing.F, roundTrip func([]byte) ([]byte, error), seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := roundTrip(b)
		switch {
		case err != nil && !errors.Is(err, store.ErrDamaged):
			t.Errorf("error %v", err)
		case err == nil && !bytes.Equal(got, b):
			t.Errorf("%x became %x", b, got)
		}
	})
}

func FuzzInode(f *testing.F) {
	fuzzRoundTrip(f, fs.RoundTripInode, exampleFile(), exampleDir())
}

func FuzzSuper(f *testing.F) { fuzzRoundTrip(f, fs.RoundTripSuper, exampleSuper()) }

func FuzzEntries(f *testing.F) {
	e := exampleEntry()
	fuzzRoundTrip(f, fs.RoundTripEntries, e, append(e, e...), e[:len(e)-1])
}

func FuzzXattr(f *testing.F) {
	f.Add(exampleXattr())
	f.Fuzz(func(t *testing.T, b []byte) {
		name, size, rest, err := fs.ParseXattr(b)
		switch {
		case err != nil && !errors.Is(err, store.ErrDamaged):
			t.Errorf("error %v", err)
		case err == nil && (len(name) > fs.MaxName || size > fs.MaxXattr || len(rest) > size || name == ""):
			t.Errorf("name of %d bytes, %d of %d bytes of value", len(name), len(rest), size)
		}
	})
}

func FuzzACL(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x04\x00\x04\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		mode, same, err := fs.ParseACL(b)
		if err == nil && (mode > 0o777 || len(same) != len(b)) {
			t.Errorf("mode %o, %d of %d bytes", mode, len(same), len(b))
		}
	})
}

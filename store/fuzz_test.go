package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/tree"
)

// A44: what a decoder takes it encodes to the same bytes, and all else is
// ErrDamaged. The decoders of sealed things see verified bytes only, so that
// this is about defects; those of the envelope are fuzzed in package seal.

func canonical(t *testing.T, b, again []byte, err error) {
	t.Helper()
	switch {
	case err != nil && !errors.Is(err, store.ErrDamaged):
		t.Errorf("%x: %v", b, err)
	case err == nil && !bytes.Equal(b, again):
		t.Errorf("%x decodes, and encodes to %x", b, again)
	}
}

func FuzzRoot(f *testing.F) {
	b := make([]byte, 148)
	f.Add(b)
	withPage := append(bytes.Clone(b), make([]byte, 52)...)
	withPage[147] = 1
	f.Add(withPage)
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := store.ReencodeRoot(b)
		canonical(t, b, again, err)
	})
}

func FuzzPage(f *testing.F) {
	f.Add(make([]byte, store.EntrySize))
	e := make([]byte, 2*store.EntrySize)
	e[7], e[8] = 5, 1
	f.Add(e)
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := store.ReencodePage(b)
		canonical(t, b, again, err)
	})
}

func FuzzBatchHeader(f *testing.F) {
	b := make([]byte, store.BatchPlainSize)
	binary.BigEndian.PutUint32(b[16:], 512)
	binary.BigEndian.PutUint32(b[20:], store.BatchHeaderSize)
	f.Add(b, uint32(512))
	f.Fuzz(func(t *testing.T, b []byte, room uint32) {
		if len(b) != store.BatchPlainSize {
			return // a frame of this type has this size
		}
		again, err := store.ReencodeBatchHeader(b, room)
		canonical(t, b, again, err)
		if size := binary.BigEndian.Uint32(b[16:]); err == nil && (size > room || size > store.MaxBatch) {
			t.Errorf("a batch of %d bytes in %d", size, room)
		}
	})
}

func FuzzRecords(f *testing.F) {
	put := append([]byte{1}, tree.Key{Object: 1, Type: 2, Sub: 3}.Append(nil)...)
	put = append(put, 0, 2, 'o', 'k')
	remove := append([]byte{2}, tree.Key{Object: 1}.Append(nil)...)
	f.Add(put)
	f.Add(append(put, remove...))
	f.Add(append([]byte{3}, make([]byte, 24)...))
	f.Add(append([]byte{4}, make([]byte, 45)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := store.ReencodeRecords(b)
		canonical(t, b, again, err)
	})
}

func FuzzExtent(f *testing.F) {
	f.Add(store.Extent{Segment: 1, Offset: 4096, Length: 100, Start: 10, Count: 90}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := store.ParseExtent(b)
		canonical(t, b, e.Append(nil), err)
		if err == nil && (e.Segment == 0 || e.Segment > host.MaxSegmentID || uint64(e.Start)+uint64(e.Count) > uint64(e.Length) || e.Length > store.MaxFrame) {
			t.Errorf("%+v", e)
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	f.Add(store.EncodeSnapshot(7, 1, 2, 3, "before the upgrade"))
	f.Add(store.EncodeSnapshot(0, 0, 0, 0, ""))
	f.Add(store.EncodeSnapshot(1, -1, store.MaxObject+2, 1<<63, "over"))
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := store.ReencodeSnapshot(1, b)
		canonical(t, b, again, err)
	})
}

// FuzzSpan decodes what a snapshot's layer says of data: an extent, or that there
// was none.
func FuzzSpan(f *testing.F) {
	f.Add(uint64(1<<48|7), false, uint64(4096), store.Extent{Segment: 1, Offset: 4096, Length: 100, Start: 10, Count: 90}.Append(nil))
	f.Add(uint64(256<<48|7), true, uint64(4096), binary.BigEndian.AppendUint64(nil, 4096))
	f.Fuzz(func(t *testing.T, object uint64, gone bool, end uint64, value []byte) {
		k := store.Key{Object: object, Type: store.TypeExtent, Sub: end}
		if gone {
			k.Type |= 0x80
		}
		again, b, err := store.ReencodeSpan(k, value)
		canonical(t, value, b, err)
		if err == nil && again != k {
			t.Errorf("item %v is made again as %v", k, again)
		}
	})
}

// FuzzOpen gives the whole opening records that a host made up.
func FuzzOpen(f *testing.F) {
	v := newVaultForFuzz(f)
	f.Add(v.host.Record("header"), v.host.Record("root"))
	f.Fuzz(func(t *testing.T, header, root []byte) {
		h := v.host.Clone()
		h.SetRecord("header", header)
		h.SetRecord("root", root)
		s, err := store.Open(bg, h, store.Options{Unlocker: unlocker, ReadOnly: true})
		if err != nil {
			typed(t, err)
			return
		}
		s.Close()
	})
}

func FuzzScrub(f *testing.F) {
	f.Add(store.EncodeScrub(store.ScrubReport{}))
	hit := store.ScrubReport{}
	hit.Damaged = 3
	hit.Bytes = 4096
	hit.Damage = []store.Damage{{Part: store.PartData, Segment: 7, Offset: 4096, Length: 4112}}
	f.Add(store.EncodeScrub(hit))
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := store.ReencodeScrub(b)
		canonical(t, b, again, err)
	})
}

// What a scrub position must not say.
func TestScrubPosition(t *testing.T) {
	good := store.EncodeScrub(store.ScrubReport{})
	if _, err := store.ReencodeScrub(good); err != nil {
		t.Fatal(err)
	}
	damaged := len(good) - 2 - 8 // the count of damaged frames
	for name, spoil := range map[string]func([]byte) []byte{
		"cut":                      func(b []byte) []byte { return b[:len(b)-1] },
		"longer":                   func(b []byte) []byte { return append(b, 0) },
		"complete is no flag":      func(b []byte) []byte { b[0] = 2; return b },
		"negative count":           func(b []byte) []byte { b[damaged-8] = 0x80; return b },
		"damage that is not there": func(b []byte) []byte { b[damaged+7] = 1; return b },
		"damage without its frame": func(b []byte) []byte { b[len(b)-1] = 1; return b },
	} {
		if _, err := store.ReencodeScrub(spoil(bytes.Clone(good))); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package store_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/coffer-fs/coffer/store"
)

// newRand returns the source of a random test.
func newRand(tb testing.TB) *rand.Rand {
	return rand.New(rand.NewPCG(newSeed(tb), 0))
}

func newSeededRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

const typeNote = 1

// files are objects made of extents, beside a model of them, as a filesystem
// would keep them: written anywhere, at any length, and cut anywhere.
type files struct {
	tb    testing.TB
	rng   *rand.Rand
	size  uint64 // of every object
	bytes map[uint64][]byte
	there map[uint64][]bool
	notes map[store.Key][]byte
}

// fill makes up contents.
func (f *files) fill(p []byte) {
	for i := range p {
		p[i] = byte(f.rng.Uint32())
	}
}

func newFiles(tb testing.TB, rng *rand.Rand, size uint64) *files {
	return &files{
		tb: tb, rng: rng, size: size,
		bytes: map[uint64][]byte{}, there: map[uint64][]bool{}, notes: map[store.Key][]byte{},
	}
}

// clone copies the model, not what is stored.
func (f *files) clone() *files {
	c := *f
	c.bytes, c.there, c.notes = map[uint64][]byte{}, map[uint64][]bool{}, maps.Clone(f.notes)
	for o := range f.bytes {
		c.bytes[o], c.there[o] = bytes.Clone(f.bytes[o]), append([]bool(nil), f.there[o]...)
	}
	return &c
}

// write puts data at off of object.
func (f *files) write(s *store.Store, object, off uint64, data []byte) error {
	ctx := context.Background()
	fl := s.NewFlush()
	defer fl.Close()
	extents, err := fl.Seal(ctx, object, off, data)
	if err != nil {
		return err
	}
	err = s.UpdateFreeing(ctx, func(tx *store.Tx) error {
		if err := punch(tx, object, off, off+uint64(len(data))); err != nil {
			return err
		}
		end := off
		for _, e := range extents {
			end += uint64(e.Count)
			if err := tx.Put(store.Key{Object: object, Type: store.TypeExtent, Sub: end}, e.Append(nil)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		f.note(object, off, data, true)
	}
	return err
}

// cut makes a hole of n bytes at off of object.
func (f *files) cut(s *store.Store, object, off uint64, n int) error {
	err := s.UpdateFreeing(context.Background(), func(tx *store.Tx) error { return punch(tx, object, off, off+uint64(n)) })
	if err == nil {
		f.note(object, off, make([]byte, n), false)
	}
	return err
}

func (f *files) note(object, off uint64, data []byte, there bool) {
	if f.bytes[object] == nil {
		f.bytes[object], f.there[object] = make([]byte, f.size), make([]bool, f.size)
	}
	copy(f.bytes[object][off:], data)
	for i := range data {
		f.there[object][off+uint64(i)] = there
	}
}

// annotate sets an item that is no extent.
func (f *files) annotate(s *store.Store, k store.Key, v []byte) error {
	err := s.Update(context.Background(), func(tx *store.Tx) error { return tx.Put(k, bytes.Clone(v)) })
	if err == nil {
		f.notes[k] = v
	}
	return err
}

// punch frees [from, to) of object.
func punch(tx *store.Tx, object, from, to uint64) error {
	type item struct {
		key   store.Key
		value store.Extent
	}
	var old []item
	first := store.Key{Object: object, Type: store.TypeExtent, Sub: from + 1}
	err := tx.Scan(first, store.Key{Object: object, Type: store.TypeExtent + 1}, func(k store.Key, v []byte) (bool, error) {
		e, err := store.ParseExtent(v)
		if err != nil || k.Sub-uint64(e.Count) >= to {
			return false, err
		}
		old = append(old, item{k, e})
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, o := range old {
		start := o.key.Sub - uint64(o.value.Count)
		if err := tx.Delete(o.key); err != nil {
			return err
		}
		if start < from {
			k := o.key
			k.Sub = from
			if err := tx.Put(k, o.value.Slice(0, uint32(from-start)).Append(nil)); err != nil {
				return err
			}
		}
		if o.key.Sub > to {
			if err := tx.Put(o.key, o.value.Slice(uint32(to-start), uint32(o.key.Sub-to)).Append(nil)); err != nil {
				return err
			}
		}
	}
	return nil
}

// step makes one random change.
func (f *files) step(s *store.Store, objects uint64) error {
	object := 1 + f.rng.Uint64N(objects)
	n := 4096
	switch p := f.rng.IntN(20); {
	case p < 3:
		n = 1 + f.rng.IntN(5000)
	case p < 5:
		n = 1 + f.rng.IntN(min(200<<10, int(f.size)))
	case p < 6:
		k := store.Key{Object: object, Type: typeNote, Sub: f.rng.Uint64N(20)}
		return f.annotate(s, k, f.random(f.rng.IntN(800)))
	}
	off := f.rng.Uint64N(f.size - uint64(n) + 1)
	if n == 4096 {
		off &^= 4095
	}
	if f.rng.IntN(10) == 0 {
		return f.cut(s, object, off, n)
	}
	return f.write(s, object, off, f.random(n))
}

func (f *files) random(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(f.rng.Uint32())
	}
	return p
}

// check compares everything that is stored with the model.
func (f *files) check(s *store.Store) error {
	return s.View(context.Background(), func(tx *store.Tx) error { return f.checkTx(s, tx) })
}

func (f *files) checkTx(s *store.Store, tx *store.Tx) error {
	got := newFiles(f.tb, nil, f.size)
	var reads []store.Read
	err := tx.Scan(store.Key{}, store.Key{Object: 1 << 60}, func(k store.Key, v []byte) (bool, error) {
		if k.Type != store.TypeExtent {
			got.notes[k] = v
			return true, nil
		}
		e, err := store.ParseExtent(v)
		if err != nil {
			return false, err
		}
		start := k.Sub - uint64(e.Count)
		got.note(k.Object, start, make([]byte, e.Count), true)
		reads = append(reads, store.Read{Extent: e, Dst: got.bytes[k.Object][start:k.Sub]})
		return true, nil
	})
	if err != nil {
		return err
	}
	if err := s.Read(context.Background(), reads); err != nil {
		return err
	}
	return f.compare(got)
}

func (f *files) compare(got *files) error {
	if !maps.EqualFunc(f.notes, got.notes, bytes.Equal) {
		return fmt.Errorf("%d items, want %d", len(got.notes), len(f.notes))
	}
	for o, want := range f.bytes {
		b, there := got.bytes[o], got.there[o]
		for i, is := range f.there[o] {
			if is != (there != nil && there[i]) {
				return fmt.Errorf("object %d: byte %d is there: %v, want %v", o, i, !is, is)
			}
			if is && b[i] != want[i] {
				return fmt.Errorf("object %d: byte %d differs", o, i)
			}
		}
	}
	return nil
}

// mustCheck also recounts the accounting.
func (f *files) mustCheck(s *store.Store) {
	f.tb.Helper()
	if err := f.check(s); err != nil {
		f.tb.Fatal(err)
	}
	if _, err := s.Check(context.Background(), nil); err != nil {
		f.tb.Fatal(err)
	}
}

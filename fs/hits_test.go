package fs_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// hitVolume is a closed volume with files of which a snapshot has older ones.
func hitVolume(t *testing.T) *memhost.Host {
	t.Helper()
	h := memhost.New(memhost.Options{})
	storetest.Create(t, h, 16<<20)
	s := storetest.Open(t, h)
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	check(fs.Format(t.Context(), s, 0, 0))
	f, err := fs.Open(t.Context(), s, fs.Options{})
	check(err)
	write := func(from, to, size int) {
		for i := from; i < to; i++ {
			check(f.WriteFile(fmt.Sprintf("d%d/f%d", i%3, i), make([]byte, size), 0o600))
		}
	}
	for i := range 3 {
		check(f.Mkdir(fmt.Sprintf("d%d", i), 0o700))
	}
	write(0, 80, 1500)
	write(80, 90, 20_000)
	_, err = f.TakeSnapshot("kept")
	check(err)
	write(0, 40, 1400)
	write(80, 85, 30_000)
	for i := 60; i < 70; i++ {
		check(f.Remove(fmt.Sprintf("d%d/f%d", i%3, i)))
	}
	check(errors.Join(f.Close(), s.Close()))
	return h
}

// unreadable are the files of a filesystem that can't be read, of those it may have.
func unreadable(f *fs.FS) (names []string) {
	for i := range 90 {
		name := fmt.Sprintf("/d%d/f%d", i%3, i)
		if _, err := f.ReadFile(name); errors.Is(err, store.ErrDamaged) || fs.Errno(err) == 5 {
			names = append(names, name)
		}
	}
	return names
}

// Whatever is damaged, each file that can't be read is among the hits, by name, and as
// a snapshot has it where only that does.
func TestHits(t *testing.T) {
	intact := hitVolume(t)
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	nodes, frames, kept := 0, 0, 0
	for range 150 {
		h := intact.Clone()
		id := h.SegmentIDs()[rng.IntN(len(h.SegmentIDs()))]
		h.FlipBit(id, int64(rng.IntN(len(h.Segment(id)))), 3)
		s, err := store.Open(t.Context(), h, store.Options{Unlocker: storetest.Unlocker("test"), ReadOnly: true})
		if err != nil {
			continue // the root, or a page
		}
		f, err := fs.Open(t.Context(), s, fs.Options{ReadOnly: true})
		if err != nil {
			continue
		}
		r, _ := s.Check(t.Context(), nil)
		hits := f.Tree().Hits(t.Context(), r.Damage, 1000)
		told := func(name, snapshot string) bool {
			return slices.ContainsFunc(hits.Files, func(h fs.Hit) bool {
				return slices.Contains(h.Names, name) && (h.Snapshot == "" || h.Snapshot == snapshot)
			})
		}
		for _, d := range r.Damage {
			if d.Part == store.PartNode {
				nodes++
			} else {
				frames++
			}
		}
		for _, name := range unreadable(f) {
			if !told(name, "") && !unnamed(hits) {
				t.Errorf("-seed %d: %v: %s is hit and not told: %+v", seed, r.Damage, name, hits)
			}
		}
		if old, err := f.OpenSnapshot("kept"); err == nil {
			for _, name := range unreadable(old) {
				kept++
				if !told(name, "kept") && !unnamed(hits) {
					t.Errorf("-seed %d: %v: %s is hit in the snapshot and not told: %+v", seed, r.Damage, name, hits)
				}
			}
			old.Close()
		}
		if few := f.Tree().Hits(t.Context(), r.Damage, 1); len(few.Files)+few.More < min(1, len(hits.Files)) || len(few.Files) > 1 || (few.More > 0) != (len(hits.Files) > 1) {
			t.Errorf("-seed %d: %v: of %d hits %d are told, and %d more", seed, r.Damage, len(hits.Files), len(few.Files), few.More)
		}
		f.Close()
		s.Close()
	}
	if nodes == 0 || frames == 0 || kept == 0 {
		t.Errorf("-seed %d: %d nodes, %d frames and %d files of the snapshot were hit", seed, nodes, frames, kept)
	}
}

// unnamed reports whether something was hit that has no name any more: then names are
// what is hit.
func unnamed(h fs.Hits) bool {
	return slices.ContainsFunc(h.Files, func(h fs.Hit) bool { return len(h.Names) == 0 })
}

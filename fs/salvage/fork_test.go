package salvage_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/salvage"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// forkFiles is how many files every history has, and forkBytes how long each is: long
// enough for many segments.
const forkFiles, forkBytes = 24, 60_000

// forkSessions is how many sessions write a share of the files in each history.
const forkSessions = 3

// writeShare writes every files of a history in a session of its own, from first on:
// its letter is all that is in them.
func writeShare(t *testing.T, h *memhost.Host, letter byte, first, every int, crash bool) *memhost.Host {
	t.Helper()
	s := storetest.Open(t, h)
	if every == 1 {
		must(t, cofs.Format(bg, s, 0, 0))
	}
	f, err := cofs.Open(bg, s, cofs.Options{})
	must(t, err)
	for n := first; n < forkFiles; n += every {
		must(t, f.WriteFile(fmt.Sprintf("f%d", n), bytes.Repeat([]byte{letter}, forkBytes), 0o644))
	}
	must(t, f.Sync())
	crashed := h.Clone()
	must(t, errors.Join(f.Close(), s.Close()))
	if crash {
		return crashed
	}
	return h
}

// spoilTables damages the last page of every segment table: it ends before a copy of
// its root.
func spoilTables(h *memhost.Host) {
	for _, id := range h.SegmentIDs() {
		b := h.Segment(id)
		for at := 4096; at < len(b); at += 512 {
			if !bytes.HasPrefix(b[at:], []byte("coffroot")) {
				continue
			}
			end := len(bytes.TrimRight(b[:at], "\x00"))
			if end > 4096 {
				h.FlipBit(id, int64(end-1), 0)
			}
		}
	}
}

// splice puts segments of both histories into one directory, and records of one or of
// none.
func splice(a, b *memhost.Host, r *rand.Rand) *memhost.Host {
	if r.IntN(2) == 0 {
		a, b = b, a
	}
	h := a.Clone()
	if r.IntN(2) == 0 {
		spoilTables(h)
	}
	share := 1 + r.IntN(4)
	for _, id := range b.SegmentIDs() {
		if r.IntN(5) < share {
			h.SetSegment(id, b.Segment(id))
		}
	}
	if r.IntN(2) == 0 {
		for _, name := range h.RecordNames() {
			h.RemoveRecord(name)
		}
	}
	return h
}

// letters are those that files below dir have; zeros, which are holes, are none. A file
// with two is an error.
func letters(dir string) (all map[byte]bool, err error) {
	all = map[byte]bool{}
	var mixed error
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "damage.txt" {
			return err
		}
		b, err := os.ReadFile(p)
		in := map[byte]bool{}
		for _, c := range b {
			if c != 0 {
				in[c], all[c] = true, true
			}
		}
		if len(in) > 1 {
			mixed = fmt.Errorf("%s is of %d histories", d.Name(), len(in))
		}
		return err
	})
	return all, errors.Join(err, mixed)
}

// A host that let two copies go on, and puts segments of both into one directory, has
// what is salvaged be of one of them; and so is what is recovered. Only who takes
// segments at their own word may get a mix, and is told.
func TestA17_SalvageForks(t *testing.T) {
	base := *seedFlag
	if base == 0 {
		base = rand.Uint64()
	}
	h := memhost.New(memhost.Options{})
	storetest.Create(t, h, 16<<20)
	h = writeShare(t, h, 'o', 0, 1, false)
	a, b := h.Clone(), h.Clone()
	for i := range forkSessions {
		a = writeShare(t, a, 'a', i, forkSessions, i == forkSessions-1)
		b = writeShare(t, b, 'b', i, forkSessions, false)
	}
	salvaged, mixes := 0, 0
	for run := uint64(0); run < 40 || mixes == 0 && run < 400; run++ {
		h := splice(a, b, rand.New(rand.NewPCG(base, run)))
		what := fmt.Sprintf("-seed %d, run %d", base, run)
		for _, unproven := range []bool{false, true} {
			sum, all, err := salvageFork(t, h, unproven)
			switch both := all['a'] && all['b'] || err != nil; {
			case sum == nil:
			case both && sum.Unproven > 0 && unproven:
				mixes++
			case both:
				t.Errorf("%s, unproven %v: a mix of histories: %v", what, unproven, err)
			case len(all) > 0 && !unproven:
				salvaged++
			}
		}
		recoverFork(t, h, what)
	}
	if salvaged < 10 || mixes == 0 {
		t.Errorf("-seed %d: %d were salvaged, %d mixed: that tests little", base, salvaged, mixes)
	}
}

// salvageFork returns no summary if nothing can be salvaged.
func salvageFork(t *testing.T, h *memhost.Host, unproven bool) (*salvage.Summary, map[byte]bool, error) {
	t.Helper()
	o := store.SalvageOptions{Options: store.Options{Unlocker: storetest.Unlocker("test")}, Unproven: unproven}
	w, err := store.OpenWreck(bg, h, o)
	if errors.Is(err, store.ErrDamaged) {
		return nil, nil, nil
	}
	must(t, err)
	defer w.Close()
	dir := filepath.Join(scratch(t), "out")
	defer os.RemoveAll(dir)
	sum, err := salvage.Run(bg, w, dir, salvage.Options{})
	must(t, err)
	all, err := letters(dir)
	return &sum, all, err
}

// recoverFork recovers the records, and reads all files that can be read.
func recoverFork(t *testing.T, h *memhost.Host, what string) {
	t.Helper()
	rec, err := store.Recover(bg, h, store.RecoverOptions{Options: store.Options{Unlocker: storetest.Unlocker("test")}})
	if errors.Is(err, store.ErrDamaged) {
		return
	}
	must(t, err)
	h = h.Clone()
	for name, value := range rec.Records() {
		h.SetRecord(name, value)
	}
	s := storetest.Open(t, h)
	defer s.Close()
	f, err := cofs.Open(bg, s, cofs.Options{})
	must(t, err)
	defer f.Close()
	in := map[byte]bool{}
	for n := range forkFiles {
		b, err := f.ReadFile(fmt.Sprintf("f%d", n))
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			t.Fatalf("%s: %v", what, err)
		}
		if len(b) > 0 { // else it was being written
			in[b[0]] = true
			if len(bytes.Trim(b, string(b[:1]))) > 0 {
				t.Errorf("%s: file %d is recovered as a mix", what, n)
			}
		}
	}
	if in['a'] && in['b'] {
		t.Errorf("%s: a mix of histories is recovered: %v", what, in)
	}
}

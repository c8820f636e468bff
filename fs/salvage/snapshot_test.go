package salvage_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/salvage"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// snapshotVolume makes a volume with two snapshots, and returns what each state has,
// the present one under no name.
func snapshotVolume(t *testing.T, r *rand.Rand) (*memhost.Host, map[string]map[string][]byte) {
	t.Helper()
	h := memhost.New(memhost.Options{})
	storetest.Create(t, h, 32<<20)
	s := storetest.Open(t, h)
	must(t, cofs.Format(bg, s, 0, 0))
	f, err := cofs.Open(bg, s, cofs.Options{})
	must(t, err)
	now, states := map[string][]byte{}, map[string]map[string][]byte{}
	change := func(steps int) {
		for range steps {
			name := fmt.Sprintf("f%d", r.IntN(80))
			switch old := now[name]; {
			case old != nil && r.IntN(5) == 0:
				must(t, f.Remove(name))
				delete(now, name)
			case old != nil && r.IntN(3) == 0: // a part of it, or a hole behind it
				b := slices.Clone(old)
				off := r.IntN(len(b) + 9000)
				b = append(b, make([]byte, max(0, off+1-len(b)))...)
				b[off] = 1
				file, err := f.OpenFile(name, os.O_WRONLY, 0)
				must(t, err)
				_, err = file.WriteAt(b[off:off+1], int64(off))
				must(t, errors.Join(err, file.Close()))
				now[name] = b
			default:
				b := make([]byte, 1+r.IntN(3)*r.IntN(30_000)+r.IntN(2500))
				for i := range b {
					b[i] = byte(r.UintN(255)) + 1
				}
				must(t, f.WriteFile(name, b, 0o644))
				now[name] = b
			}
		}
	}
	keep := func(name string) {
		states[name] = map[string][]byte{}
		for n, b := range now {
			states[name][n] = b
		}
	}
	for _, name := range []string{"first", "second"} {
		change(120)
		_, err := f.TakeSnapshot(name)
		must(t, err)
		keep(name)
	}
	change(60)
	must(t, errors.Join(f.Close(), s.Close()))
	s = storetest.Open(t, h) // and some of it in the log
	f, err = cofs.Open(bg, s, cofs.Options{})
	must(t, err)
	change(20)
	must(t, f.Sync())
	must(t, errors.Join(f.Chmod("/", 0o700), f.Sync())) // the last batch may be torn, unseen
	keep("")
	crashed := h.Clone()
	must(t, errors.Join(f.Close(), s.Close()))
	return crashed, states
}

// TestRandomDamageOfSnapshots: what is written of a snapshot is what it has, or a hole
// that is told, whatever is damaged; and what is lost of it alone is told with the
// present state too.
func TestRandomDamageOfSnapshots(t *testing.T) {
	base := *seedFlag
	if base == 0 {
		base = rand.Uint64()
	}
	intact, states := snapshotVolume(t, rand.New(rand.NewPCG(base, 0)))
	whole, partly := 0, 0
	for run := range uint64(40) {
		r := rand.New(rand.NewPCG(base, run+1))
		h := intact.Clone()
		var done []string
		for range r.IntN(3) {
			done = append(done, flips(h, r))
		}
		kept := int64(-1)
		for _, name := range []string{"", "second", "first"} {
			w, err := wreck(h)
			if err != nil {
				if !errors.Is(err, store.ErrDamaged) {
					t.Fatalf("-seed %d, run %d, %v: %v", base, run, done, err)
				}
				break
			}
			dir := filepath.Join(scratch(t), "out")
			sum, err := salvage.Run(bg, w, dir, salvage.Options{Snapshot: name})
			w.Close()
			if errors.Is(err, store.ErrSnapshotList) {
				if kept == 0 {
					t.Errorf("-seed %d, run %d, %v: it was not told that the list is damaged", base, run, done)
				}
				continue
			}
			list, _ := os.ReadFile(filepath.Join(dir, "damage.txt"))
			earlier := bytes.Contains(list, []byte("lost: not taken")) || bytes.Contains(list, []byte("lost: the log ends"))
			if err == nil && (name != "" || !earlier) { // snapshots stay as they are
				err = compare(dir, states[name], sum)
			}
			if err != nil || len(done) == 0 && (len(list) > 0 || !sum.Whole()) {
				t.Fatalf("-seed %d, run %d, %v, snapshot %q: %v\n%+v\n%s", base, run, done, name, err, sum, list)
			}
			if name == "" {
				kept = sum.Kept
			} else if sum.Whole() {
				whole++
			} else {
				partly++
			}
		}
	}
	if whole == 0 || partly == 0 {
		t.Errorf("-seed %d: %d snapshots were whole and %d were not", base, whole, partly)
	}
}

// flips damages a volume by changed bytes, which take no state away.
func flips(h *memhost.Host, r *rand.Rand) string {
	ids := h.SegmentIDs()
	id := ids[r.IntN(len(ids))]
	at := r.IntN(len(h.Segment(id)))
	h.FlipBit(id, int64(at), uint(r.IntN(8)))
	return fmt.Sprintf("flip in %d at %d", id, at)
}

// What a snapshot alone needs is told of the present state, with its name.
func TestKeptLosses(t *testing.T) {
	intact, _ := snapshotVolume(t, rand.New(rand.NewPCG(7, 0)))
	told := 0
	for seed := range uint64(60) {
		h := intact.Clone()
		done := flips(h, rand.New(rand.NewPCG(seed, 1)))
		w, err := wreck(h)
		if err != nil {
			continue
		}
		dir := filepath.Join(scratch(t), "out")
		sum, err := salvage.Run(bg, w, dir, salvage.Options{})
		w.Close()
		must(t, err)
		list, err := os.ReadFile(filepath.Join(dir, "damage.txt"))
		must(t, err)
		lines := strings.Count(string(list), "of snapshots lost: ")
		if int64(lines) != sum.Kept {
			t.Errorf("%s: %d lines, %+v", done, lines, sum)
		}
		if sum.Whole() && sum.Kept > 0 {
			told++
		}
	}
	if told == 0 {
		t.Error("nothing was ever lost of a snapshot alone")
	}
	w, err := wreck(intact)
	must(t, err)
	defer w.Close()
	if _, err := salvage.Run(bg, w, filepath.Join(scratch(t), "out"), salvage.Options{Snapshot: "none"}); !errors.Is(err, store.ErrNoSnapshot) {
		t.Errorf("a snapshot that is not there: %v", err)
	}
}

package salvage_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/salvage"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

var bg = context.Background()

var seedFlag = flag.Uint64("seed", 0, "seed of the random test; 0 for a new one")

// volume makes a volume with files that are written once, over a few sessions, and
// returns what is in them by path, and the paths in the order they were made.
func volume(t *testing.T, r *rand.Rand) (h *memhost.Host, want map[string][]byte, order []string) {
	t.Helper()
	h = memhost.New(memhost.Options{})
	storetest.Create(t, h, 16<<20)
	want = map[string][]byte{}
	for session := range 3 {
		s := storetest.Open(t, h)
		if session == 0 {
			must(t, cofs.Format(bg, s, 0, 0))
		}
		f, err := cofs.Open(bg, s, cofs.Options{})
		must(t, err)
		for d := range 3 {
			dir := fmt.Sprintf("d%d-%d", session, d)
			must(t, f.Mkdir(dir, 0o755))
			for n := range 12 {
				name := fmt.Sprintf("%s/f%d", dir, n)
				b := make([]byte, r.IntN(4)*r.IntN(40_000)+r.IntN(3000)+1)
				for i := range b {
					b[i] = byte(r.UintN(255)) + 1 // no zeros: those are holes
				}
				must(t, f.WriteFile(name, b, 0o644))
				want[name] = b
				order = append(order, name)
			}
		}
		must(t, f.Close())
		must(t, s.Close())
	}
	return h, want, order
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// harm damages a volume once.
func harm(h *memhost.Host, r *rand.Rand) string {
	ids := h.SegmentIDs()
	if len(ids) < 2 {
		return "nothing"
	}
	id, other := ids[r.IntN(len(ids))], ids[r.IntN(len(ids))]
	b := h.Segment(id)
	if len(b) == 0 {
		return "nothing"
	}
	at := r.IntN(len(b))
	switch r.IntN(6) {
	case 0, 1:
		h.FlipBit(id, int64(at), uint(r.IntN(8)))
		return fmt.Sprintf("flip in %d at %d", id, at)
	case 2:
		n := min(len(b)-at, 1+r.IntN(20_000))
		h.Overwrite(id, int64(at), make([]byte, n))
		return fmt.Sprintf("zero %d in %d at %d", n, id, at)
	case 3:
		h.SetSegment(id, b[:at])
		return fmt.Sprintf("cut %d at %d", id, at)
	case 4:
		if r.IntN(3) > 0 {
			return "nothing"
		}
		h.RemoveSegment(id)
		return fmt.Sprintf("delete %d", id)
	default:
		c := h.Segment(other)
		h.SetSegment(id, c)
		h.SetSegment(other, b)
		return fmt.Sprintf("swap %d and %d", id, other)
	}
}

func wreck(h host.Reader) (*store.Wreck, error) {
	return store.OpenWreck(bg, h, store.SalvageOptions{Options: store.Options{Unlocker: storetest.Unlocker("test")}})
}

// TestRandomDamage: what is not hit comes back byte for byte, what is hit is in the
// list, and nothing else is written.
func TestRandomDamage(t *testing.T) {
	base := *seedFlag
	if base == 0 {
		base = rand.Uint64()
	}
	intact, want, order := volume(t, rand.New(rand.NewPCG(base, 0)))
	opened := 0
	for run := range uint64(60) {
		r := rand.New(rand.NewPCG(base, run+1))
		h := intact.Clone()
		var done []string
		for range r.IntN(4) {
			done = append(done, harm(h, r))
		}
		if r.IntN(2) == 0 {
			for _, name := range h.RecordNames() {
				h.RemoveRecord(name)
			}
			done = append(done, "no records")
		}
		w, err := wreck(h)
		if err != nil {
			if len(done) == 0 || !errors.Is(err, store.ErrDamaged) {
				t.Fatalf("-seed %d, run %d, %v: %v", base, run, done, err)
			}
			continue
		}
		opened++
		dir := filepath.Join(scratch(t), "out")
		sum, err := salvage.Run(bg, w, dir, salvage.Options{})
		if err == nil {
			err = compare(dir, want, sum)
			// Without the records nothing tells of a newest root that went with its
			// segment: what is left is the volume as it was before (A14).
			if err != nil && slices.Contains(done, "no records") && len(done) > 1 {
				if e := earlier(dir, want, order); e == nil {
					err = nil
				} else {
					err = errors.Join(err, e)
				}
			}
		}
		list, _ := os.ReadFile(filepath.Join(dir, "damage.txt"))
		if err != nil {
			t.Fatalf("-seed %d, run %d, %v: %v\n%+v\n%s", base, run, done, err, sum, list)
		}
		w.Close()
	}
	if opened < 30 {
		t.Errorf("-seed %d: only %d of 60 wrecks lead anywhere", base, opened)
	}
}

// scratch is a directory of the test, in memory where the machine has that: what is
// salvaged is synced, many times.
func scratch(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "salvage-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// compare compares what was written with what was there.
func compare(dir string, want map[string][]byte, sum salvage.Summary) error {
	list, err := os.ReadFile(filepath.Join(dir, "damage.txt"))
	if err != nil {
		return err
	}
	atLarge := bytes.Contains(list, []byte("lost: not taken")) || bytes.Contains(list, []byte("where a newer state may have been")) || bytes.Contains(list, []byte("lost: the log ends"))
	seen := map[string]bool{}
	root := filepath.Join(dir, "files")
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(root, p)
		seen[name] = true
		got, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		told := atLarge || bytes.Contains(list, fmt.Appendf(nil, "%q", "files/"+name))
		return same(name, got, want[name], told)
	})
	if err != nil {
		return err
	}
	var missing error
	for name := range want {
		if !seen[name] && sum.Lost == 0 {
			missing = fmt.Errorf("%s: %w", name, errMissing)
		}
	}
	return errors.Join(missing, foundAreKnown(dir, want))
}

var errMissing = errors.New("it is missing, and nothing is said")

// earlier checks that what was written is the volume as it was at some time: all
// files up to one, that one as far as it was written, and none behind it. It returns
// nil if so, whatever is left to be said of what is lost.
func earlier(dir string, want map[string][]byte, order []string) error {
	list, err := os.ReadFile(filepath.Join(dir, "damage.txt"))
	if err != nil {
		return err
	}
	says := func(format string, args ...any) bool { return bytes.Contains(list, fmt.Appendf(nil, format, args...)) }
	namesLost := says("names in this directory are lost") || says("the name of a ") || says("the root directory is lost")
	last := ""
	for _, name := range order {
		got, err := os.ReadFile(filepath.Join(dir, "files", name))
		told := says("%q", "files/"+name) || says("%q: inode", "files/"+filepath.Dir(name))
		switch {
		case errors.Is(err, fs.ErrNotExist) && (told || namesLost):
		case errors.Is(err, fs.ErrNotExist):
			last = cmp.Or(last, name)
		case err != nil:
			return err
		case last != "":
			return fmt.Errorf("%s is there, and what was made before it, %s, is not", name, last)
		case same(name, got, want[name], told) == nil:
		case !bytes.HasPrefix(want[name], got):
			return fmt.Errorf("%s is not what it was at any time, and not told of", name)
		default:
			last = name
		}
	}
	return foundAreKnown(dir, want)
}

// same compares a file with what it was: where it is not the same it is a hole,
// and told.
func same(name string, got, want []byte, told bool) error {
	if want == nil {
		return fmt.Errorf("%s was never there", name)
	}
	if bytes.Equal(got, want) {
		return nil
	}
	if !told {
		return fmt.Errorf("%s is not what it was, and not told of", name)
	}
	for i, c := range got {
		if c != 0 && (i >= len(want) || c != want[i]) {
			return fmt.Errorf("%s: byte %d is wrong", name, i)
		}
	}
	return nil
}

// foundAreKnown: each file without a name is, but for holes, one that was there.
func foundAreKnown(dir string, want map[string][]byte) error {
	root := filepath.Join(dir, "lost+found")
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		got, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for name, b := range want {
			if same(name, got, b, true) == nil {
				return nil
			}
		}
		return fmt.Errorf("%s was never there", p)
	})
}

// All kinds of files come back as they were.
func TestKinds(t *testing.T) {
	h := memhost.New(memhost.Options{})
	storetest.Create(t, h, 16<<20)
	s := storetest.Open(t, h)
	must(t, cofs.Format(bg, s, 0, 0))
	f, err := cofs.Open(bg, s, cofs.Options{})
	must(t, err)
	long := strings.Repeat("n", 255)
	must(t, f.Mkdir("dir", 0o750))
	must(t, f.WriteFile("dir/"+long, []byte("x"), 0o600))
	must(t, f.Link("dir/"+long, "second"))
	must(t, f.Symlink("../../../../etc", "escape"))
	must(t, f.WriteFile("new\nline \xff", []byte("y"), 0o400))
	must(t, f.SetXattr("second", "user.k", bytes.Repeat([]byte("v"), 3000), 0))
	sparse, err := f.OpenFile("sparse", os.O_CREATE|os.O_WRONLY, 0o644)
	must(t, err)
	_, err = sparse.WriteAt([]byte("end"), 10<<20)
	must(t, errors.Join(err, sparse.Close(), f.Close(), s.Close()))
	w, err := wreck(h)
	must(t, err)
	defer w.Close()
	dir := filepath.Join(t.TempDir(), "out")
	sum, err := salvage.Run(bg, w, dir, salvage.Options{})
	must(t, err)
	if !sum.Whole() || sum.Files != 4 || sum.Directories != 2 {
		t.Errorf("%+v", sum)
	}
	at := func(name string) string { return filepath.Join(dir, "files", name) }
	a, err := os.Stat(at("dir/" + long))
	must(t, err)
	b, err := os.Stat(at("second"))
	must(t, err)
	if !os.SameFile(a, b) || a.Mode() != 0o600 {
		t.Errorf("hard links: %v, %v", a.Mode(), b.Mode())
	}
	if target, err := os.Readlink(at("escape")); err != nil || target != "../../../../etc" {
		t.Errorf("%q, %v", target, err)
	}
	if got, err := os.ReadFile(at("new\nline \xff")); string(got) != "y" {
		t.Errorf("%q, %v", got, err)
	}
	i, err := os.Stat(at("sparse"))
	if err != nil || i.Size() != 10<<20+3 {
		t.Errorf("%v, %v", i, err)
	}
}

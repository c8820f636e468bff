package fs_test

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/storetest"
)

// goldenDir has volumes of format 1 that were made once: see gen.go there.
var goldenDir = flag.String("golden", filepath.Join("..", "testdata", "volumes"), "where the golden volumes are")

// goldenEntry is a file in tree.json.
type goldenEntry struct {
	Path, Mode, SHA256, Target string
	Size                       int64
	Xattr                      string `json:"user.note"`
}

// golden unpacks a golden volume and opens it on its host.
func golden(t *testing.T, name string) (v *local.Volume, dir string) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.Open(filepath.Join(*goldenDir, name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		unpack(t, filepath.Join(dir, h.Name), r)
	}
	dir = filepath.Join(dir, "volume")
	v, err = local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v, dir
}

func unpack(t *testing.T, path string, r io.Reader) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err == nil {
		_, err = io.Copy(f, r)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func goldenJSON(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(*goldenDir, name))
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// goldenKeys open every golden volume.
func goldenKeys() store.Options {
	return store.Options{Unlocker: store.Secrets{storetest.Secret("golden"), storetest.Secret("golden 2")}}
}

// goldenAnchor knows what the anchor of the anchored volume knew.
func goldenAnchor(t *testing.T) *storetest.Anchor {
	t.Helper()
	var known struct {
		Volume [16]byte
		State  store.AnchorState
	}
	goldenJSON(t, "anchor.json", &known)
	a := &storetest.Anchor{}
	if err := a.Advance(bg, known.Volume, store.AnchorState{}, known.State); err != nil {
		t.Fatal(err)
	}
	return a
}

// Volumes that earlier versions left in every state are opened, hold what they held,
// and can be written on and opened again.
func TestGoldenVolumes(t *testing.T) {
	var trees map[string][]goldenEntry
	goldenJSON(t, "tree.json", &trees)
	if len(trees) < 5 {
		t.Errorf("only %d volumes", len(trees))
	}
	for name, tree := range trees {
		t.Run(name, func(t *testing.T) {
			o := goldenKeys()
			if name == "anchored" {
				o.Anchor = goldenAnchor(t)
			}
			v, _ := golden(t, name)
			present := tree
			if name == "snapshot" { // what there is now is without a
				present = slices.DeleteFunc(slices.Clone(tree), func(e goldenEntry) bool {
					return e.Path == "a" || strings.HasPrefix(e.Path, "a/")
				})
			}
			for _, more := range []bool{true, false} {
				useGolden(t, v, o, present, tree, name == "snapshot", more)
			}
		})
	}
}

// useGolden opens a golden volume, looks at everything, and changes something.
func useGolden(t *testing.T, v host.Volume, o store.Options, present, before []goldenEntry, snapshot, change bool) {
	t.Helper()
	st, err := store.Open(bg, v, o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fs.Open(bg, st, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	compareGolden(t, f, present)
	if snapshot {
		s, err := f.OpenSnapshot("before")
		if err != nil {
			t.Fatal(err)
		}
		compareGolden(t, s, before)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if report, err := f.Tree().Check(bg, nil); err != nil || len(report.Problems) > 0 {
		t.Errorf("check: %+v, %v", report, err)
	}
	if _, err := st.Check(bg, nil); err != nil {
		t.Error(err)
	}
	if change {
		err = errors.Join(f.WriteFile("new", []byte("new"), 0o600), f.Sync(), f.Remove("new"))
	}
	if err := errors.Join(err, f.Close(), st.Close()); err != nil {
		t.Fatal(err)
	}
}

func compareGolden(t *testing.T, f *fs.FS, want []goldenEntry) {
	t.Helper()
	if got := listGolden(t, f, "."); !slices.Equal(got, want) {
		t.Errorf("there is\n%+v, want\n%+v", got, want)
	}
}

// listGolden lists a tree as gen.go does.
func listGolden(t *testing.T, f *fs.FS, dir string) (entries []goldenEntry) {
	t.Helper()
	des, err := f.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range des {
		path := filepath.Join(dir, d.Name())
		info, err := f.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		e := goldenEntry{Path: path, Mode: info.Mode().String(), Size: info.Size()}
		switch {
		case info.IsDir():
			e.Size = 0
			entries = append(entries, listGolden(t, f, path)...)
		case info.Mode().IsRegular():
			b, err := f.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(b)
			e.SHA256 = hex.EncodeToString(sum[:])
		case info.Mode()&iofs.ModeSymlink != 0:
			e.Target, _ = f.Readlink(path)
		}
		if x, err := f.GetXattr(path, "user.note"); err == nil {
			e.Xattr = string(x)
		}
		entries = append(entries, e)
	}
	return entries
}

// Golden volumes that were broken, each in one way, are refused by the error that
// says how.
func TestGoldenBroken(t *testing.T) {
	spoil := func(record string, at int, value byte) func(*testing.T, *local.Volume, string, *store.Options) {
		return func(t *testing.T, v *local.Volume, _ string, _ *store.Options) {
			setRecord(t, v, record, func(b []byte) []byte { b[at] = value; return b })
		}
	}
	for _, c := range []struct {
		name, volume string
		spoil        func(*testing.T, *local.Volume, string, *store.Options)
		want         error
	}{
		{"version of the header", "clean", spoil("header", 9, 2), store.ErrVersion},
		{"version of the root", "clean", spoil("root", 9, 2), store.ErrVersion},
		{"suite of the header", "clean", spoil("header", 10, 2), store.ErrVersion},
		{"uuid in the header", "clean", spoil("header", 12, 0), store.ErrWrongKey},
		{"wrapped key", "clean", func(t *testing.T, v *local.Volume, _ string, _ *store.Options) {
			setRecord(t, v, "header", func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		}, store.ErrDamaged},
		{"root that is cut off", "crashed", func(t *testing.T, v *local.Volume, _ string, _ *store.Options) {
			setRecord(t, v, "root", func(b []byte) []byte { return b[:len(b)-1] })
		}, store.ErrDamaged},
		{"root of another volume", "clean", func(t *testing.T, v *local.Volume, _ string, _ *store.Options) {
			other, _ := golden(t, "snapshot")
			root, err := other.Get(bg, "root")
			if err != nil {
				t.Fatal(err)
			}
			setRecord(t, v, "root", func([]byte) []byte { return root.Value })
		}, store.ErrDamaged},
		{"segments that are gone", "crashed", func(t *testing.T, _ *local.Volume, dir string, _ *store.Options) {
			if err := os.RemoveAll(filepath.Join(dir, "segments")); err != nil {
				t.Fatal(err)
			}
		}, store.ErrDamaged},
		{"another key", "clean", func(_ *testing.T, _ *local.Volume, _ string, o *store.Options) {
			o.Unlocker = store.Secrets{storetest.Secret("another")}
		}, store.ErrWrongKey},
		{"old key, between two", "migrating", func(_ *testing.T, _ *local.Volume, _ string, o *store.Options) {
			o.Unlocker = store.Secrets{storetest.Secret("golden")}
		}, store.ErrWrongKey},
		{"no anchor", "anchored", func(_ *testing.T, _ *local.Volume, _ string, o *store.Options) {
			o.Anchor = nil
		}, store.ErrAnchorMissing},
		{"anchor that knows nothing", "anchored", func(_ *testing.T, _ *local.Volume, _ string, o *store.Options) {
			o.Anchor = &storetest.Anchor{}
		}, store.ErrAnchorLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, dir := golden(t, c.volume)
			o := goldenKeys()
			c.spoil(t, v, dir, &o)
			for _, readOnly := range []bool{true, false} {
				o.ReadOnly = readOnly
				s, err := store.Open(bg, v, o)
				if !errors.Is(err, c.want) {
					t.Errorf("read-only %v: %v, want %v", readOnly, err, c.want)
				}
				if err == nil {
					_ = s.Close()
				}
			}
		})
	}
}

// setRecord changes a record as whoever owns the host can.
func setRecord(t *testing.T, v *local.Volume, name string, change func([]byte) []byte) {
	t.Helper()
	w, err := v.Acquire(bg, host.AcquireOptions{Takeover: true})
	if err != nil {
		t.Fatal(err)
	}
	old, err := v.Get(bg, name)
	if err == nil {
		_, err = w.Swap(bg, name, old.Version, change(slices.Clone(old.Value)))
	}
	if err := errors.Join(err, w.Release(bg)); err != nil {
		t.Fatal(err)
	}
}

package bolt_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/audit/bolt"
)

var (
	ctx    = context.Background()
	signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
)

func open(t *testing.T, path string, o bolt.Options) (*audit.Log, *bolt.Store) {
	t.Helper()
	s, err := bolt.Open(path, o)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	l, err := audit.Open(ctx, s, signer, nil)
	must(t, err)
	return l, s
}

func add(t *testing.T, l *audit.Log, n int) {
	t.Helper()
	for range n {
		must(t, l.Append(audit.Entry{Event: audit.Refused, Reason: strings.Repeat("x", 500)}))
	}
}

// verify reads files, one after the other.
func verify(t *testing.T, from uint64, paths ...string) (audit.State, error) {
	t.Helper()
	var text bytes.Buffer
	for _, p := range paths {
		must(t, bolt.Batches(ctx, p, from, &text))
	}
	return audit.Verify(&text, audit.VerifyOptions{}, nil)
}

func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	l, s := open(t, path, bolt.Options{})
	add(t, l, 10)
	if _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, audit.ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	if st, err := verify(t, 1, path); err != nil || st.Lines != 11 { // while it is open
		t.Errorf("%+v, %v", st, err)
	}
	for from := uint64(1); from <= 11; from++ {
		if st, err := verify(t, from, path); err != nil || st.First != from || st.Lines != 11 {
			t.Errorf("from %d: %+v, %v", from, st, err)
		}
	}
	if st, err := verify(t, 12, path); err != nil || st.Lines != 0 {
		t.Errorf("from behind the end: %+v, %v", st, err)
	}
	for _, first := range []uint64{0, 1, 11, 13} {
		if err := s.Append(ctx, first, 1, []byte("x")); !errors.Is(err, audit.ErrConflict) {
			t.Errorf("line %d after 11: %v", first, err)
		}
	}
	add(t, l, 1) // a stranger's conflict is not the log's end
	must(t, s.Close())
	l, _ = open(t, path, bolt.Options{})
	add(t, l, 1)
	if st, err := verify(t, 1, path); err != nil || st.Lines != 14 {
		t.Errorf("opened again: %+v, %v", st, err)
	}
	if next, err := bolt.Next(ctx, path); err != nil || next != 15 {
		t.Errorf("next %d, %v", next, err)
	}
}

// Files end at their size, or when the operator says so, while the node writes; the
// chain goes on, also when the older files are elsewhere.
func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	l, s := open(t, path, bolt.Options{FileBytes: 64 << 10})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { add(t, l, 60) })
	}
	wg.Go(func() {
		for range 5 {
			if _, err := bolt.Rotate(ctx, path); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	must(t, s.Close())
	l, s = open(t, path, bolt.Options{FileBytes: 64 << 10})
	add(t, l, 1)
	files := inOrder(t, path)
	if len(files) < 3 {
		t.Fatalf("files %v", files)
	}
	if st, err := verify(t, 1, files...); err != nil || st.First != 1 || st.Lines != 243 {
		t.Errorf("%+v, %v", st, err)
	}
	for _, f := range files[:len(files)-1] {
		must(t, os.Remove(f))
	}
	add(t, l, 1)
	if st, err := verify(t, 1, path); err != nil || st.Lines != 244 {
		t.Errorf("older files are moved away: %+v, %v", st, err)
	}
	_, err := bolt.Rotate(ctx, path) // nothing but what it carries
	must(t, err)
	must(t, s.Close())
	l, _ = open(t, path, bolt.Options{})
	add(t, l, 1)
	if next, err := bolt.Next(ctx, path); err != nil || next != 247 {
		t.Errorf("next %d, %v", next, err)
	}
}

// inOrder are a log's files by their first line.
func inOrder(t *testing.T, path string) []string {
	t.Helper()
	files, err := bolt.Files(path)
	must(t, err)
	return files
}

// What a crash in the middle of Rotate leaves is gone on with.
func TestRotateCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	l, _ := open(t, path, bolt.Options{})
	add(t, l, 3)
	must(t, os.Link(path, path+".1"))
	must(t, os.WriteFile(path+".new", []byte("half"), 0o600))
	add(t, l, 3)
	old, err := bolt.Rotate(ctx, path)
	must(t, err)
	add(t, l, 1)
	if st, err := verify(t, 1, old, path); err != nil || st.Lines != 8 {
		t.Errorf("%+v, %v", st, err)
	}
	must(t, os.Link(old, path+".8"))
	if _, err := bolt.Rotate(ctx, path); !errors.Is(err, os.ErrExist) {
		t.Errorf("an older file would be overwritten: %v", err)
	}
}

// A file that is lost, damaged or something else is an error and not a new log.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	l, s := open(t, path, bolt.Options{})
	add(t, l, 30)
	must(t, s.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	for name, b := range map[string][]byte{"empty": {}, "short": whole[:100], "other": []byte(strings.Repeat("text\n", 4000)),
		"zeros": make([]byte, len(whole)), "half": whole[:len(whole)/8192*4096], "pages": append(bytes.Clone(whole[:8192]), bytes.Repeat([]byte{0xff}, len(whole)-8192)...)} {
		must(t, os.WriteFile(path, b, 0o600))
		s, err := bolt.Open(path, bolt.Options{})
		if err == nil {
			_, err = audit.Open(ctx, s, signer, nil)
			must(t, s.Close())
		}
		if err == nil {
			t.Errorf("%s: it opens", name)
		}
	}
	must(t, os.Remove(path))
	must(t, os.WriteFile(path+".1", whole, 0o600))
	if _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("the newest file is lost: %v", err)
	}
	if is, err := bolt.Is(path + ".1"); err != nil || !is {
		t.Errorf("%v, %v", is, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

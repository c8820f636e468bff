// Package wrappedtest is what the tests of wrapped master keys share, whatever wraps
// them.
//
// Imported by tests only. Imports kds, kds/attest, kds/audit, kds/master/wrapped and
// key.
package wrappedtest

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/master/wrapped"
	"github.com/coffer-fs/coffer/key"
)

// Audit remembers what was written down, and fails from the entry on that is told.
type Audit struct {
	mu     sync.Mutex // guards what follows
	lines  []audit.Entry
	failAt int // from 1; 0 never
}

// ErrDisk is what a failing Audit says.
var ErrDisk = errors.New("audit: disk is full")

// FailAt has the entry n from now, from 1, and all after it fail; with 0 none.
func (a *Audit) FailAt(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failAt = 0
	if n > 0 {
		a.failAt = len(a.lines) + n
	}
}

// Append implements wrapped.Auditor.
func (a *Audit) Append(e audit.Entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failAt > 0 && len(a.lines)+1 >= a.failAt {
		return ErrDisk
	}
	a.lines = append(a.lines, e)
	return nil
}

// Lines are the entries so far.
func (a *Audit) Lines() []audit.Entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lines
}

// Options are those of a service "test".
func Options(kek wrapped.KEK, dir string, m attest.Mode, create kds.Generation) wrapped.Options {
	return wrapped.Options{KEK: kek, Dir: dir, Name: "test", Mode: m, Create: create, Audit: &Audit{}}
}

// Open opens the master keys of the service "test".
func Open(kek wrapped.KEK, dir string, m attest.Mode, create kds.Generation) (*wrapped.Keys, error) {
	return wrapped.Open(context.Background(), Options(kek, dir, m, create))
}

// Must ends the test if there are no keys, and closes them with it.
func Must(t testing.TB) func(*wrapped.Keys, error) *wrapped.Keys {
	return func(k *wrapped.Keys, err error) *wrapped.Keys {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = k.Close() })
		return k
	}
}

// Get is the master key of a generation.
func Get(t testing.TB, k *wrapped.Keys, g kds.Generation) key.Key {
	t.Helper()
	mk, err := k.Key(context.Background(), g)
	if err != nil {
		t.Fatal(err)
	}
	return mk
}

// Refused checks an error: which it is, what it says, and that it is one line.
func Refused(t testing.TB, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want %v with %q on one line", err, want, text)
	}
}

// SameForEver checks what every wrapping key must give: nothing unless it is asked
// for, and then the same on each start, in each generation, on each node that has
// the records. It returns where these are, of generations 1 and 2.
func SameForEver(t *testing.T, typ kds.MasterKeyType, open func(dir string, create kds.Generation) (*wrapped.Keys, error)) (dir string) {
	t.Helper()
	dir = t.TempDir()
	_, err := open(dir, 0)
	Refused(t, err, wrapped.ErrNone, string(typ))
	_, err = open(dir, 2)
	Refused(t, err, wrapped.ErrCreate, "newest is 0")
	must := Must(t)
	first := must(open(dir, 1))
	if first.Type() != typ || first.Made() != 1 || first.Current() != 1 {
		t.Errorf("type %s, made %d, current %d", first.Type(), first.Made(), first.Current())
	}
	for _, create := range []kds.Generation{0, 1} { // to create is no order to replace
		if again := must(open(dir, create)); again.Made() != 0 || !Get(t, again, 1).Equal(Get(t, first, 1)) {
			t.Error("another key after a restart")
		}
	}
	second := must(open(dir, 2))
	if second.Current() != 2 || !Get(t, second, 1).Equal(Get(t, first, 1)) || Get(t, second, 2).Equal(Get(t, first, 1)) {
		t.Error("generations are mixed up")
	}
	there := t.TempDir()
	if err := os.CopyFS(there, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if other := must(open(there, 0)); !Get(t, other, 1).Equal(Get(t, first, 1)) || !Get(t, other, 2).Equal(Get(t, second, 2)) {
		t.Error("another node with the records has other keys")
	}
	return dir
}

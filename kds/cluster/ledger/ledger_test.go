package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/cluster/kv"
	"github.com/coffer-fs/coffer/kds/cluster/ledger"
	"github.com/coffer-fs/coffer/key"
)

var ctx = context.Background()

type oneKey struct{ k key.Key }

func (oneKey) Current() kds.Generation                                { return 1 }
func (o oneKey) Key(context.Context, kds.Generation) (key.Key, error) { return o.k, nil }

// agreeing is a witness that remembers, and is alone.
type agreeing struct{ seen ledger.Head }

func (a *agreeing) Confirm(_ context.Context, _ []string, h ledger.Head) error {
	if h.Number < a.seen.Number || h.Number == a.seen.Number && h != a.seen {
		return ledger.ErrOlder
	}
	a.seen = h
	return nil
}

func open(t testing.TB) (*ledger.Ledger, kv.Store) {
	t.Helper()
	s, err := kv.OpenFile(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return ledger.New(s, oneKey{key.New()}, &agreeing{}), s
}

// Values are what was put, in any number, and a change that fails changes
// nothing.
func TestPutAndGet(t *testing.T) {
	l, _ := open(t)
	name := func(i int) string { return fmt.Sprintf("value %d", i) }
	for i := range 600 {
		if err := l.Update(ctx, []string{name(i)}, func(t *ledger.Tx) error { t.Put(name(i), fmt.Append(nil, i)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	stop := errors.New("stop")
	err := l.Update(ctx, []string{name(0), name(1)}, func(t *ledger.Tx) error { t.Put(name(0), nil); t.Put(name(1), []byte("x")); return stop })
	if !errors.Is(err, stop) {
		t.Error(err)
	}
	if err := l.Update(ctx, []string{name(2)}, func(t *ledger.Tx) error { t.Put(name(2), nil); return nil }); err != nil {
		t.Error(err)
	}
	for i := range 600 {
		err := l.View(ctx, []string{name(i)}, func(x *ledger.Tx) error {
			if got := x.Get(name(i)); i != 2 && !bytes.Equal(got, fmt.Append(nil, i)) || i == 2 && got != nil {
				t.Errorf("%s: %q", name(i), got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if r, err := l.Peek(ctx); err != nil || r.Number != 601 {
		t.Errorf("%+v, %v", r, err)
	}
}

// What comes out of the store is read without a crash, and believed only with
// the MAC of a node.
func FuzzLedger(f *testing.F) {
	l, s := open(f)
	if err := l.Update(ctx, []string{"a"}, func(t *ledger.Tx) error {
		t.Put("a", []byte("b"))
		t.Root().Members = []string{"x:1"}
		return nil
	}); err != nil {
		f.Fatal(err)
	}
	values, err := s.List(ctx, "ledger/")
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range values {
		f.Add(v.Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) { ledger.Parse(t, b) })
}

package anchor_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
	"github.com/coffer-fs/coffer/kds/anchor/anchortest"
)

var ctx = context.Background()

func openDir(t *testing.T, path string) *anchor.Dir {
	t.Helper()
	d, err := anchor.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestDir(t *testing.T) {
	anchortest.Run(t, func(t *testing.T) anchortest.Open {
		path := t.TempDir()
		var last *anchor.Dir
		return func(t *testing.T) anchor.Store {
			if last != nil {
				if err := last.Close(); err != nil {
					t.Fatal(err)
				}
			}
			last = openDir(t, path)
			return last
		}
	})
}

func TestDirInUse(t *testing.T) {
	path := t.TempDir()
	openDir(t, path)
	if _, err := anchor.OpenDir(path); !errors.Is(err, anchor.ErrInUse) {
		t.Error(err)
	}
}

// Every byte of a record counts; what a crash left half made is cleared away.
func TestDirDamage(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	v := anchortest.Volume(1)
	if err := d.Swap(ctx, v, anchor.Record{}, anchortest.Record(1, 1)); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	file := filepath.Join(path, hex.EncodeToString(v[:])+".anchor")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		write(file, bad)
		if _, err := anchor.OpenDir(path); !errors.Is(err, anchor.ErrDamaged) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	write(file, good[:len(good)-1])
	if _, err := anchor.OpenDir(path); !errors.Is(err, anchor.ErrDamaged) {
		t.Errorf("cut off: %v", err)
	}
	write(file, good)
	write(file+".new", good[:20])
	d = openDir(t, path)
	if r, err := d.Get(ctx, v); err != nil || r != anchortest.Record(1, 1) {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := os.Stat(file + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a record is left: %v", err)
	}
}

// After a write that failed nothing is answered any more: what is on the disk
// is unknown.
func TestDirFailure(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	v := anchortest.Volume(1)
	if err := d.Swap(ctx, v, anchor.Record{}, anchortest.Record(1, 1)); err != nil {
		t.Fatal(err)
	}
	blocked := filepath.Join(path, hex.EncodeToString(v[:])+".anchor.new")
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Swap(ctx, v, anchortest.Record(1, 1), anchortest.Record(1, 2)); err == nil || errors.Is(err, anchor.ErrConflict) {
		t.Errorf("swap: %v", err)
	}
	if _, err := d.Get(ctx, v); err == nil {
		t.Error("the store goes on after a failure")
	}
	_ = d.Close()
	if r, err := openDir(t, path).Get(ctx, v); err != nil || r != anchortest.Record(1, 1) {
		t.Errorf("opened again: %+v, %v", r, err)
	}
}

// A state that was is never again.
func TestFollows(t *testing.T) {
	s := kds.AnchorState{Epoch: 5, Opening: [16]byte{1}, Root: 7, Sequence: 9, Hash: [32]byte{1}}
	change := func(f func(*kds.AnchorState)) kds.AnchorState { n := s; f(&n); return n }
	for i, c := range []struct {
		next kds.AnchorState
		want bool
	}{
		{s, false},
		{change(func(n *kds.AnchorState) { n.Sequence++ }), true},
		{change(func(n *kds.AnchorState) { n.Root++ }), true},
		{change(func(n *kds.AnchorState) { n.Sequence-- }), false},
		{change(func(n *kds.AnchorState) { n.Root--; n.Sequence++ }), false},
		{change(func(n *kds.AnchorState) { n.Opening[0]++; n.Sequence++ }), false},
		{change(func(n *kds.AnchorState) { n.Epoch--; n.Sequence++ }), false},
		{change(func(n *kds.AnchorState) { n.Epoch++; n.Sequence, n.Root, n.Opening = 1, 1, [16]byte{9} }), true},
	} {
		if got := c.next.Follows(s); got != c.want {
			t.Errorf("case %d: %v", i, got)
		}
	}
}

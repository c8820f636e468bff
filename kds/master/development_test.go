package master_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/master"
)

func TestDevelopmentIsTheSameForEver(t *testing.T) {
	dir := t.TempDir()
	first, err := master.OpenDevelopment(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, err := first.Key(context.Background(), first.Current())
	if err != nil {
		t.Fatal(err)
	}
	second, err := master.OpenDevelopment(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := second.Key(context.Background(), 1)
	if err != nil || !a.Equal(b) || master.Commitment(a) != master.Commitment(b) {
		t.Errorf("another key after a restart: %v", err)
	}
	if second.Type() != kds.Development {
		t.Error(second.Type())
	}
	for _, g := range []kds.Generation{0, 2} {
		if _, err := second.Key(context.Background(), g); !errors.Is(err, master.ErrGeneration) {
			t.Errorf("generation %d: %v", g, err)
		}
	}
	other, err := master.OpenDevelopment(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := other.Key(context.Background(), 1); c.Equal(a) {
		t.Error("two nodes have one key")
	}
	if err := first.Close(); err != nil || a.Equal(b) {
		t.Errorf("the key outlives Close: %v", err)
	}
}

// A damaged file must never become a new key: every volume would be lost.
func TestDevelopmentDamaged(t *testing.T) {
	dir := t.TempDir()
	if _, err := master.OpenDevelopment(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, master.DevelopmentFile)
	if err := os.Truncate(path, 40); err != nil {
		t.Fatal(err)
	}
	if _, err := master.OpenDevelopment(dir); !errors.Is(err, master.ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 40 {
		t.Errorf("the damaged file was changed: %v, %v", info, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := master.OpenDevelopment(dir); !errors.Is(err, master.ErrPermissions) {
		t.Errorf("got %v", err)
	}
}

package dcap_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest/dcap"
)

// What was seen is known after a restart: older collateral and an older clock
// are refused.
func TestK08_OldCollateralAfterRestart(t *testing.T) {
	ctx, path, when := context.Background(), filepath.Join(t.TempDir(), "collateral.json"), time.Unix(1_760_000_000, 0)
	mark := func(at time.Time, n uint32) []dcap.Mark { return []dcap.Mark{{Subject: "x", Issued: at, Number: n}} }
	for range 2 {
		m, err := dcap.OpenMemory(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Advance(ctx, mark(when, 17)); err != nil {
			t.Error(err)
		}
		for _, old := range [][]dcap.Mark{mark(when.Add(-time.Second), 17), mark(when, 16)} {
			if err := m.Advance(ctx, old); !errors.Is(err, dcap.ErrOlder) {
				t.Errorf("%+v: %v", old, err)
			}
		}
		if newest, err := m.Newest(ctx); err != nil || !newest.Equal(when) {
			t.Errorf("%v, %v", newest, err)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dcap.OpenMemory(path); err == nil {
		t.Error("a damaged memory is taken for none")
	}
}

package orders_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/orders"
)

var ctx = context.Background()

func operator(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	k, err := orders.OperatorKey(filepath.Join(t.TempDir(), "operator"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(k ed25519.PrivateKey) []ed25519.PublicKey {
	return []ed25519.PublicKey{k.Public().(ed25519.PublicKey)}
}

func sign(t testing.TB, o orders.Orders, k ed25519.PrivateKey) []byte {
	t.Helper()
	b, err := orders.Sign(o, k)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hash(digit string) attest.Hash { return attest.Hash(strings.Repeat(digit, 64)) }

// Numbers only grow, here and after a restart; nobody but the operator orders.
func TestKeeper(t *testing.T) {
	me, file := operator(t), orders.File(filepath.Join(t.TempDir(), "orders.json"))
	k, err := orders.Open(ctx, file, public(me))
	if err != nil || k.Orders().Number != 0 {
		t.Fatalf("%+v, %v", k, err)
	}
	second := sign(t, orders.Orders{Number: 2, MinEvaluationNumber: 17, DenyCode: []attest.Hash{"" + hash("a")}}, me)
	if _, err := k.Apply(ctx, second); err != nil {
		t.Fatal(err)
	}
	for range 2 { // in this process, and after a restart
		if k.MinEvaluationNumber() != 17 || k.Orders().Number != 2 {
			t.Errorf("%+v", k.Orders())
		}
		if _, err := k.Apply(ctx, second); err != nil {
			t.Errorf("the same orders again: %v", err)
		}
		for _, n := range []uint64{1, 2} {
			if _, err := k.Apply(ctx, sign(t, orders.Orders{Number: n}, me)); !errors.Is(err, orders.ErrNumber) {
				t.Errorf("number %d: %v", n, err)
			}
		}
		if _, err := k.Apply(ctx, sign(t, orders.Orders{Number: 3}, operator(t))); !errors.Is(err, orders.ErrSignature) {
			t.Errorf("another operator: %v", err)
		}
		if k, err = orders.Open(ctx, file, public(me)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := orders.Open(ctx, file, public(operator(t))); !errors.Is(err, orders.ErrSignature) {
		t.Errorf("orders of another operator in the store: %v", err)
	}
	if err := os.WriteFile(string(file), bytes.Replace(second, []byte("17"), []byte("16"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Apply(ctx, sign(t, orders.Orders{Number: 3}, me)); err == nil {
		t.Error("a store that somebody changed was overwritten")
	}
	if _, err := orders.Open(ctx, file, public(me)); !errors.Is(err, orders.ErrSignature) {
		t.Errorf("changed orders in the store: %v", err)
	}
}

// unsynced is a store whose first Replace takes effect, and fails all the same.
type unsynced struct {
	orders.File
	failed bool
}

func (u *unsynced) Replace(ctx context.Context, old, text []byte) error {
	err := u.File.Replace(ctx, old, text)
	if err == nil && !u.failed {
		u.failed, err = true, errors.New("sync failed")
	}
	return err
}

// Orders that may have come to the disk are not in force, and do not keep later
// ones, or the same again, from it.
func TestAfterAFailedSync(t *testing.T) {
	me := operator(t)
	for _, again := range []uint64{1, 2} {
		s := &unsynced{File: orders.File(filepath.Join(t.TempDir(), "orders.json"))}
		k, err := orders.Open(ctx, s, public(me))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Apply(ctx, sign(t, orders.Orders{Number: 1}, me)); err == nil || k.Orders().Number != 0 {
			t.Errorf("after a failed sync %d is in force: %v", k.Orders().Number, err)
		}
		if _, err := k.Apply(ctx, sign(t, orders.Orders{Number: again}, me)); err != nil || k.Orders().Number != again {
			t.Errorf("orders %d after it: %v", again, err)
		}
	}
}

func TestAllow(t *testing.T) {
	id := attest.Identity{CodeHash: hash("A"), SignerHash: hash("B")}
	spec := [32]byte{1}
	for _, c := range []struct {
		o    orders.Orders
		want string
	}{
		{orders.Orders{}, ""},
		{orders.Orders{DenyCode: []attest.Hash{hash("B")}, DenySigner: []attest.Hash{hash("A")}, DenySpec: []string{strings.Repeat("00", 32)}}, ""},
		{orders.Orders{DenyCode: []attest.Hash{hash("C"), hash("A")}}, "code hash AAAA"},
		{orders.Orders{DenySigner: []attest.Hash{hash("B")}}, "code signer BBBB"},
		{orders.Orders{DenySpec: []string{hex.EncodeToString(spec[:])}}, "key 0100"},
	} {
		err := c.o.Allow(id, spec)
		if (c.want == "") != (err == nil) || err != nil && (!errors.Is(err, orders.ErrDenied) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, s := range []string{``, `{}`, `{"number":0}`, `{"number":1,"deny":[]}`, `{"number":1,"denyCode":["12"]}`,
		`{"number":1,"denySigner":["` + strings.Repeat("g", 64) + `"]}`, `{"number":1,"denySpec":["ab"]}`, `{"number":1}{}`,
		`{"number":1,"denySpec":[` + strings.Repeat(`"`+strings.Repeat("ab", 32)+`",`, orders.MaxDenied) + `"` + strings.Repeat("ab", 32) + `"]}`} {
		if _, err := orders.ParseUnsigned([]byte(s)); !errors.Is(err, orders.ErrMalformed) {
			t.Errorf("%.60s: %v", s, err)
		}
	}
	if o, err := orders.ParseUnsigned([]byte(`{"number":1,"denyCode":["` + strings.Repeat("a", 64) + `"]}`)); err != nil || o.DenyCode[0] != hash("A") {
		t.Errorf("%+v, %v", o, err)
	}
}

func FuzzParse(f *testing.F) {
	me := operator(f)
	f.Add(sign(f, orders.Orders{Number: 1, DenyCode: []attest.Hash{hash("A")}}, me))
	f.Add([]byte(`{"orders":{"number":1},"operator":"","signature":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := orders.Parse(b, public(me)); err == nil && o.Number == 0 {
			t.Errorf("%+v", o)
		}
	})
}

package record_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/cluster/record"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/key"
)

// people are an operator and custodians, and the configuration that names them.
type people struct {
	config     *nodeconfig.Config
	operator   ed25519.PrivateKey
	custodians map[string]hpke.PrivateKey
}

func newPeople(t testing.TB, threshold int, names ...string) people {
	t.Helper()
	_, op, err := ed25519.GenerateKey(nil)
	must(t, err)
	p := people{operator: op, custodians: map[string]hpke.PrivateKey{}}
	var b strings.Builder
	fmt.Fprintf(&b, "operators = [%q]\ncluster {\n name = \"test\"\n threshold = %d\n", hex.EncodeToString(op.Public().(ed25519.PublicKey)), threshold)
	for _, n := range names {
		sk, err := hpke.MLKEM768X25519().GenerateKey()
		must(t, err)
		p.custodians[n] = sk
		fmt.Fprintf(&b, " custodian %q { key = %q }\n", n, base64.StdEncoding.EncodeToString(sk.PublicKey().Bytes()))
	}
	b.WriteString("}\n")
	p.config, err = nodeconfig.Parse("test", []byte(b.String()))
	must(t, err)
	return p
}

func (p people) generation(t testing.TB, mk key.Key, before *record.Next) *record.Generation {
	t.Helper()
	g, err := record.New(p.config.Cluster, kds.Cluster, record.ID{1}, mk, before)
	must(t, err)
	h := g.Hash()
	g.Confirm(p.operator.Public().(ed25519.PublicKey), ed25519.Sign(p.operator, h.OperatorBytes()))
	return g
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Every bit of a record counts, and so does its end.
func TestEveryByteOfARecordCounts(t *testing.T) {
	p := newPeople(t, 1, "alice")
	good := p.generation(t, key.New(), nil).Encode()
	if _, err := record.Parse(good, p.config); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := record.Parse(bad, p.config); !errors.Is(err, record.ErrRecord) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for _, bad := range [][]byte{nil, good[:len(good)-1], append(bytes.Clone(good), 0), make([]byte, record.MaxBytes+1)} {
		if _, err := record.Parse(bad, p.config); !errors.Is(err, record.ErrRecord) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	// another operator's signature is as good as none
	other := newPeople(t, 1, "alice")
	if _, err := record.Parse(good, other.config); !errors.Is(err, record.ErrRecord) || !strings.Contains(err.Error(), "not signed by an operator") {
		t.Errorf("another operator: %v", err)
	}
}

// Generations follow one another, signed by the one before; the newest cannot
// be retired.
func TestStateIsAChain(t *testing.T) {
	p := newPeople(t, 2, "alice", "bob", "carol")
	a, b := key.New(), key.New()
	one := p.generation(t, a, nil)
	two := p.generation(t, b, &record.Next{Generation: one, Key: a})
	forged := p.generation(t, b, &record.Next{Generation: one, Key: b}) // who made it does not have the first key
	fork := p.generation(t, b, nil)
	retire := func(h record.Hash) []byte {
		return record.Retirement{Generation: h, Operator: p.operator.Public().(ed25519.PublicKey), Signature: ed25519.Sign(p.operator, h.RetirementBytes())}.Encode()
	}
	enc := func(gs ...*record.Generation) (bs [][]byte) {
		for _, g := range gs {
			bs = append(bs, g.Encode())
		}
		return bs
	}
	whole, err := record.Build(enc(one, two), [][]byte{retire(one.Hash())}, p.config)
	must(t, err)
	if !whole.Retired[1] || whole.Retired[2] || whole.Newest().Number != 2 || !whole.Newest().Holds(b) || whole.Newest().Holds(a) {
		t.Errorf("%+v", whole)
	}
	gs, rs := whole.Encode()
	again, err := record.Build(gs, rs, p.config)
	if err != nil || !again.Extends(whole) || !whole.Extends(again) {
		t.Errorf("encoded and read again: %v", err)
	}
	first, err := record.Build(enc(one), nil, p.config)
	must(t, err)
	other, err := record.Build(enc(fork), nil, p.config)
	must(t, err)
	if !whole.Extends(first) || first.Extends(whole) || other.Extends(first) || first.Extends(other) {
		t.Error("what extends what")
	}
	for name, c := range map[string]struct{ generations, retirements [][]byte }{
		"no first":              {enc(two), nil},
		"first twice":           {enc(one, one), nil},
		"of another chain":      {enc(fork, two), nil},
		"not by the one before": {enc(one, forged), nil},
		"newest retired":        {enc(one), [][]byte{retire(one.Hash())}},
		"unknown retired":       {enc(one, two), [][]byte{retire(fork.Hash())}},
		"retired by nobody":     {enc(one, two), [][]byte{append(retire(one.Hash())[:len(retire(one.Hash()))-1], 1)}},
	} {
		if _, err := record.Build(c.generations, c.retirements, p.config); !errors.Is(err, record.ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// m of n custodians, any of them, in any order, and no fewer.
func TestAnyThresholdOfCustodians(t *testing.T) {
	names := []string{"alice", "bob", "carol", "dave", "eve"}
	p := newPeople(t, 3, names...)
	mk := key.New()
	g := p.generation(t, mk, nil)
	node, err := hpke.MLKEM768X25519().GenerateKey()
	must(t, err)
	for mask := range 1 << len(names) {
		s, n := g.Gather(), 0
		for i, name := range names {
			if mask>>i&1 == 0 {
				continue
			}
			n++
			who, sealed, err := g.Hand(p.custodians[name], node.PublicKey().Bytes())
			must(t, err)
			if who != name {
				t.Fatalf("%s handed the share of %s", name, who)
			}
			must(t, s.Add(who, node, sealed))
			must(t, s.Add(who, node, sealed)) // twice is once
		}
		got, err := s.Key()
		if enough := n >= 3; enough != (err == nil) || enough && !got.Equal(mk) || s.Have() != n || s.Need() != 3 {
			t.Errorf("custodians %05b: %v", mask, err)
		}
	}
}

// K35: a share that is wrong, of somebody else or for another node is named.
func TestK35_WrongShareIsNamed(t *testing.T) {
	p := newPeople(t, 2, "alice", "bob", "carol")
	mk := key.New()
	g := p.generation(t, mk, nil)
	next := p.generation(t, key.New(), &record.Next{Generation: g, Key: mk})
	node, err := hpke.MLKEM768X25519().GenerateKey()
	must(t, err)
	other, err := hpke.MLKEM768X25519().GenerateKey()
	must(t, err)
	hand := func(g *record.Generation, who string, to hpke.PrivateKey) []byte {
		_, sealed, err := g.Hand(p.custodians[who], to.PublicKey().Bytes())
		must(t, err)
		return sealed
	}
	s := g.Gather()
	for name, sealed := range map[string][]byte{
		"of another custodian":  hand(g, "alice", node),
		"of another generation": hand(next, "bob", node),
		"for another node":      hand(g, "bob", other),
		"made up":               make([]byte, len(hand(g, "bob", node))),
		"cut off":               hand(g, "bob", node)[:100],
	} {
		if err := s.Add("bob", node, sealed); !errors.Is(err, record.ErrShare) || !strings.Contains(err.Error(), `"bob"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Add("mallory", node, hand(g, "bob", node)); err == nil || s.Have() != 0 {
		t.Errorf("a stranger's: %v", err)
	}
	if _, _, err := g.Hand(other, node.PublicKey().Bytes()); !errors.Is(err, record.ErrNotCustodian) {
		t.Errorf("a stranger's key: %v", err)
	}
	// a value that is right in form and wrong
	if err := s.Add("bob", node, record.SealValue(t, g, "bob", node.PublicKey().Bytes(), bytes.Repeat([]byte{7}, 31), 0)); !errors.Is(err, record.ErrShare) || !strings.Contains(err.Error(), "does not match generation 1") {
		t.Errorf("a wrong value: %v", err)
	}
	must(t, s.Add("bob", node, hand(g, "bob", node)))
	must(t, s.Add("carol", node, hand(g, "carol", node)))
	if got, err := s.Key(); err != nil || !got.Equal(mk) {
		t.Errorf("after all that: %v", err)
	}
}

// Who keeps the records cannot make the nodes use a key of his own.
func FuzzParseRecord(f *testing.F) {
	p := newPeople(f, 1, "alice")
	g := p.generation(f, key.New(), nil)
	f.Add(g.Encode())
	f.Add(g.Body())
	h := g.Hash()
	f.Add(record.Retirement{Generation: h, Operator: p.operator.Public().(ed25519.PublicKey), Signature: ed25519.Sign(p.operator, h.RetirementBytes())}.Encode())
	node, err := hpke.MLKEM768X25519().GenerateKey()
	must(f, err)
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := record.Parse(b, p.config); err == nil && !bytes.Equal(g.Encode(), b) {
			t.Error("a record has two forms")
		}
		if g, err := record.ParseBody(b); err == nil {
			// shares of whatever it says are refused, not a crash
			_ = g.Gather().Add("alice", node, make([]byte, 1168))
			_, _, _ = g.Hand(p.custodians["alice"], node.PublicKey().Bytes())
		}
		if r, err := record.ParseRetirement(b, p.config); err == nil && !bytes.Equal(r.Encode(), b) {
			t.Error("a retirement has two forms")
		}
	})
}

package sim_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/key"
)

func hash(c string) attest.Hash { return attest.Hash(strings.Repeat(c, 64)) }

var build = sim.Build{CodeHash: hash("A"), SignerHash: hash("B"), ProductID: 12, RevocationLevel: 3}

func cpu(t *testing.T, dir string) *sim.CPU {
	t.Helper()
	c, err := sim.NewCPU(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func start(t *testing.T, c *sim.CPU, b sim.Build) *sim.Enclave {
	t.Helper()
	e, err := c.Start(b, sim.Options{Now: func() time.Time { return time.Unix(1_760_000_000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEvidence(t *testing.T) {
	e := start(t, cpu(t, t.TempDir()), build)
	data := attest.ReportData{1, 2, 3}
	ev, err := e.Quote(data)
	if err != nil {
		t.Fatal(err)
	}
	r, err := sim.Verifier{}.Verify(context.Background(), ev)
	if err != nil {
		t.Fatal(err)
	}
	want := attest.Identity{CodeHash: hash("A"), SignerHash: hash("B"), ProductID: 12, RevocationLevel: 3,
		Level: attest.Insecure, Mode: attest.Simulation, Timestamp: time.Unix(1_760_000_000, 0)}
	if r.Identity != want || r.ReportData != data {
		t.Errorf("got %v with %x, want %v", r.Identity, r.ReportData, want)
	}
	if self, err := e.Self(); err != nil || self != want {
		t.Errorf("self is %v, %v", self, err)
	}
}

// Every changed, missing or added byte is refused.
func TestEvidenceDamaged(t *testing.T) {
	ev, err := start(t, cpu(t, t.TempDir()), build).Quote(attest.ReportData{9})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, i int, data []byte) {
		t.Helper()
		if r, err := (sim.Verifier{}).Verify(context.Background(), attest.Evidence{Format: attest.FormatSim, Data: data}); !errors.Is(err, attest.ErrEvidence) || r.Identity.Check() == nil {
			t.Errorf("%s %d: %v", what, i, err)
		}
	}
	for i := range ev.Data {
		b := bytes.Clone(ev.Data)
		b[i] ^= 1
		refused("changed byte", i, b)
		refused("cut at", i, ev.Data[:i])
	}
	refused("added", 0, append(bytes.Clone(ev.Data), 0))
	refused("empty", 0, nil)
	if _, err := (sim.Verifier{}).Verify(context.Background(), attest.Evidence{Format: attest.FormatSGXQuote, Data: ev.Data}); !errors.Is(err, attest.ErrEvidence) {
		t.Errorf("another format: %v", err)
	}
}

func FuzzEvidence(f *testing.F) {
	c, err := sim.NewCPU(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	e, err := c.Start(build, sim.Options{})
	if err != nil {
		f.Fatal(err)
	}
	ev, err := e.Quote(attest.ReportData{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ev.Data)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := (sim.Verifier{}).Verify(context.Background(), attest.Evidence{Format: attest.FormatSim, Data: b})
		if err == nil && (r.Identity.Level != attest.Insecure || r.Identity.Mode != attest.Simulation || r.Identity.Check() != nil) {
			t.Errorf("accepted as %v", r.Identity)
		}
	})
}

// Who gets the same seal key: the table of MRSIGNER and MRENCLAVE.
func TestSealKey(t *testing.T) {
	dir := t.TempDir()
	same, other := cpu(t, dir), cpu(t, t.TempDir())
	again := cpu(t, dir)
	info := make([]byte, 32)
	seal := func(c *sim.CPU, p attest.SealPolicy, change func(*sim.Build)) key.Key {
		b := build
		change(&b)
		k, kept, err := start(t, c, b).SealKey(p, info)
		if err != nil || !bytes.Equal(kept, info) {
			t.Fatal(err, kept)
		}
		return k
	}
	none := func(*sim.Build) {}
	code := func(b *sim.Build) { b.CodeHash = hash("C") }
	signer := func(b *sim.Build) { b.SignerHash = hash("C") }
	product := func(b *sim.Build) { b.ProductID++ }
	level := func(b *sim.Build) { b.RevocationLevel++ }
	for _, c := range []struct {
		what       string
		cpu        *sim.CPU
		change     func(*sim.Build)
		bySigner   bool
		byCodeHash bool
	}{
		{"nothing", again, none, true, true},
		{"code", same, code, true, false},
		{"signer", same, signer, false, true},
		{"product", same, product, false, true},
		{"level", same, level, true, true},
		{"CPU", other, none, false, false},
	} {
		if got := seal(c.cpu, attest.SealToSigner, c.change).Equal(seal(same, attest.SealToSigner, none)); got != c.bySigner {
			t.Errorf("another %s: the signer's key is the same: %v", c.what, got)
		}
		if got := seal(c.cpu, attest.SealToCode, c.change).Equal(seal(same, attest.SealToCode, none)); got != c.byCodeHash {
			t.Errorf("another %s: the code's key is the same: %v", c.what, got)
		}
	}
	if seal(same, attest.SealToCode, none).Equal(seal(same, attest.SealToSigner, none)) {
		t.Error("two policies give one key")
	}
	e := start(t, same, build)
	first, kept, err := e.SealKey(attest.SealToCode, nil)
	if err != nil {
		t.Fatal(err)
	}
	if second, _, _ := e.SealKey(attest.SealToCode, nil); second.Equal(first) {
		t.Error("without info the same key is given twice")
	}
	if back, _, err := e.SealKey(attest.SealToCode, kept); err != nil || !back.Equal(first) {
		t.Errorf("with its info another key is given: %v", err)
	}
	if _, _, err := e.SealKey(0, nil); !errors.Is(err, attest.ErrSeal) {
		t.Errorf("policy 0: %v", err)
	}
	if _, _, err := e.SealKey(attest.SealToCode, []byte{1}); !errors.Is(err, attest.ErrSeal) {
		t.Errorf("info: %v", err)
	}
}

func TestMeasure(t *testing.T) {
	seen := map[attest.Hash]string{}
	for _, c := range [][2]string{{"exe", "config"}, {"exe", "config2"}, {"exe2", "config"}, {"execonfig", ""}, {"", "execonfig"}} {
		h, err := sim.Measure(strings.NewReader(c[0]), []byte(c[1]))
		if err != nil || !h.Valid() || seen[h] != "" {
			t.Errorf("%q: %s, %v, as %s", c, h, err, seen[h])
		}
		seen[h] = c[0] + "/" + c[1]
	}
	a, err := sim.MeasureSelf([]byte("c"))
	b, err2 := sim.MeasureSelf([]byte("c"))
	if err != nil || err2 != nil || a != b {
		t.Errorf("%s, %v and %s, %v", a, err, b, err2)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	read := func(text string) (sim.Build, error) {
		path := filepath.Join(dir, "enclave")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := sim.ReadFile(path)
		if err != nil {
			return sim.Build{}, err
		}
		return f.Build(hash("A"))
	}
	if b, err := read(`{}`); err != nil || b != (sim.Build{CodeHash: hash("A"), SignerHash: sim.DefaultSigner, ProductID: 1}) {
		t.Errorf("%+v, %v", b, err)
	}
	lower := hex.EncodeToString(bytes.Repeat([]byte{0xcc}, 32))
	b, err := read(`{"codeHash":"` + lower + `","signer":"` + lower + `","productID":0,"revocationLevel":2}`)
	if err != nil || b != (sim.Build{CodeHash: hash("C"), SignerHash: hash("C"), ProductID: 0, RevocationLevel: 2}) {
		t.Errorf("%+v, %v", b, err)
	}
	for text, want := range map[string]string{
		``:                               "malformed",
		`{"signer":"xy"}`:                "signer: not a hash",
		`{"codeHash":"xy"}`:              "codeHash: not a hash",
		`{"productID":65536}`:            "malformed",
		`{"productId":1}`:                "unknown field",
		`{"revocationLevel":-1}`:         "negative",
		`{}` + strings.Repeat(" ", 5000): "larger than 4096",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	if _, err := cpu(t, t.TempDir()).Start(sim.Build{}, sim.Options{}); !errors.Is(err, attest.ErrIdentity) {
		t.Errorf("an empty build: %v", err)
	}
}

package kds_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/key"
)

// The vectors were made by testdata/vectors/gen_kds.go, which knows the tables
// of docs/protocol.md and none of this code. They are fixed for ever.
func vectors(t *testing.T, name string, to any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "vectors", name))
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDerivationVectors(t *testing.T) {
	var all []struct {
		What, Master, Algorithm, Name, Info, Key string
		Purpose                                  kds.Purpose
		MasterKeyType                            kds.MasterKeyType
		Generation                               kds.Generation
		PolicyConstraint                         policy.Constraint
		CanonicalPolicy, SpecHash                string
	}
	vectors(t, "kds-derivation.json", &all)
	if len(all) < 8 {
		t.Fatalf("%d vectors", len(all))
	}
	keys := map[string]string{}
	for _, v := range all {
		master, err := key.FromBytes(unhex(t, v.Master))
		if err != nil {
			t.Fatal(err)
		}
		spec := kds.Spec{Name: v.Name, MasterKeyType: v.MasterKeyType, PolicyConstraint: v.PolicyConstraint}
		if err := spec.Check(); err != nil {
			t.Errorf("%s: %v", v.What, err)
		}
		if got := v.PolicyConstraint.Canonical(); got != v.CanonicalPolicy {
			t.Errorf("%s: canonical policy %q, want %q", v.What, got, v.CanonicalPolicy)
		}
		if got := hex.EncodeToString(kds.Derive(master, v.Generation, spec, v.Purpose).Bytes()); got != v.Key {
			t.Errorf("%s: key %s, want %s", v.What, got, v.Key)
		}
		hash := spec.Hash()
		if got := hex.EncodeToString(hash[:]); got != v.SpecHash {
			t.Errorf("%s: spec hash %s, want %s", v.What, got, v.SpecHash)
		}
		if other, seen := keys[v.Key]; seen != strings.HasSuffix(v.What, "the same key") {
			t.Errorf("%s: its key is also that of %q", v.What, other)
		}
		keys[v.Key] = v.What
	}
}

// The worked example of docs/protocol.md: every hashed and signed structure.
func TestProtocolVectors(t *testing.T) {
	var v map[string]string
	vectors(t, "kds-protocol.json", &v)
	who, err := policy.Parse(v["policyConstraint"])
	if err != nil {
		t.Fatal(err)
	}
	spec := kds.Spec{Name: v["name"], MasterKeyType: kds.MasterKeyType(v["masterKeyType"]), PolicyConstraint: who}
	same := func(what string, got []byte) {
		t.Helper()
		if hex.EncodeToString(got) != v[what] {
			t.Errorf("%s is %x, want %s", what, got, v[what])
		}
	}
	hashed := func(what string, b []byte) { t.Helper(); s := sha256.Sum256(b); same(what, s[:]) }
	response := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x33}, 32))
	public := bytes.Repeat([]byte{0x11}, kds.PublicKeySize)

	request := kds.PrivateRequest{Spec: spec, Purpose: kds.Purpose(v["purpose"]), HPKEPublicKey: public}
	hash := request.Hash()
	same("requestHash", hash[:])
	answer := kds.PrivateAnswer{Spec: spec, Purpose: kds.Storage, Generation: 1, SealedKey: bytes.Repeat([]byte{0x22}, kds.SealedKeySize)}
	hashed("answerHash", answer.SignedBytes(hash))
	same("answerSignature", ed25519.Sign(response, answer.SignedBytes(hash)))
	publicAnswer := kds.PublicAnswer{Spec: spec, Purpose: kds.Mail, Generation: 1, HPKEPublicKey: public}
	hashed("publicAnswerHash", publicAnswer.SignedBytes())
	same("publicAnswerSignature", ed25519.Sign(response, publicAnswer.SignedBytes()))
	same("responseKey", response.Public().(ed25519.PublicKey))
	data := kds.ResponseKeyData(response.Public().(ed25519.PublicKey))
	same("responseKeyData", data[:])

	report, err := sim.Verifier{}.Verify(context.Background(), attest.Evidence{Format: attest.FormatSim, Data: unhex(t, v["evidence"])})
	want := attest.Identity{CodeHash: attest.Hash(strings.Repeat("0123456789ABCDEF", 4)), SignerHash: attest.Hash(strings.Repeat("FEDCBA9876543210", 4)),
		ProductID: 1, RevocationLevel: 2, Level: attest.Insecure, Mode: attest.Simulation, Timestamp: time.UnixMilli(1_760_000_000_000)}
	if err != nil || report.Identity != want || report.ReportData != attest.ReportData(hash) {
		t.Errorf("evidence is of %v, %v, want %v", report.Identity, err, want)
	}
	measured, err := sim.Measure(strings.NewReader("executable"), []byte("configuration"))
	if err != nil {
		t.Fatal(err)
	}
	same("simCodeHash", measured.Bytes())

	var kept keeper
	if _, err := audit.Open(context.Background(), &kept, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x55}, ed25519.SeedSize)),
		func() time.Time { return time.UnixMilli(1_760_000_000_000) }); err != nil {
		t.Fatal(err)
	}
	if want := v["auditLine"] + "\n" + v["auditHead"] + "\n"; string(kept.batch) != want {
		t.Errorf("the first batch of an audit log is %s, want %s", kept.batch, want)
	}
}

// keeper has the last batch of an audit log.
type keeper struct{ batch []byte }

func (k *keeper) Last(context.Context) ([]byte, error) { return k.batch, nil }

func (k *keeper) Append(_ context.Context, _ uint64, _ int, batch []byte) error {
	k.batch = batch
	return nil
}

// The example in the document is the example in the vectors.
func TestProtocolDocument(t *testing.T) {
	var v map[string]string
	vectors(t, "kds-protocol.json", &v)
	doc, err := os.ReadFile(filepath.Join("..", "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"requestHash", "answerHash", "answerSignature", "publicAnswerHash", "responseKey", "responseKeyData", "auditLine", "auditHead", "simCodeHash"} {
		if !strings.Contains(string(doc), v[what]) {
			t.Errorf("docs/protocol.md lacks the %s of the worked example", what)
		}
	}
	var d []struct{ Key, Info string }
	vectors(t, "kds-derivation.json", &d)
	if !strings.Contains(string(doc), d[0].Key) || !strings.Contains(string(doc), d[0].Info) {
		t.Error("docs/protocol.md lacks the derivation of the worked example")
	}
}

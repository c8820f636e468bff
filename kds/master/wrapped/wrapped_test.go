package wrapped_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/master/wrapped"
	"github.com/coffer-fs/coffer/kds/master/wrapped/wrappedtest"
	"github.com/coffer-fs/coffer/key"
)

var (
	ctx = context.Background()
	get = wrappedtest.Get
)

// software is a KEK that is nowhere else.
type software struct {
	secret key.Key
	id     string
	err    error
}

func newKEK() *software { return &software{secret: key.New(), id: "one"} }

func (s *software) Kind() kds.MasterKeyType { return kds.PKCS11 }

func (s *software) Current(context.Context) (string, error) { return s.id, s.err }

func (s *software) aead(id string) cipher.AEAD {
	block, err := aes.NewCipher(s.secret.Derive(nil, id).Bytes())
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return a
}

func (s *software) Wrap(_ context.Context, id string, k key.Key, aad []byte) ([]byte, error) {
	nonce := make([]byte, 12)
	rand.Read(nonce)
	return s.aead(id).Seal(nonce, nonce, k.Bytes(), aad), s.err
}

func (s *software) Unwrap(_ context.Context, id string, b, aad []byte) (key.Key, error) {
	if s.err != nil {
		return key.Key{}, s.err
	}
	if len(b) < 12 {
		return key.Key{}, wrapped.ErrUnwrap
	}
	plain, err := s.aead(id).Open(nil, b[:12], b[12:], aad)
	if err != nil {
		return key.Key{}, wrapped.ErrUnwrap
	}
	return key.FromBytes(plain)
}

func options(dir string, kek wrapped.KEK) wrapped.Options {
	return wrappedtest.Options(kek, dir, attest.Release, 0)
}

func open(t *testing.T, o wrapped.Options) *wrapped.Keys {
	t.Helper()
	return wrappedtest.Must(t)(wrapped.Open(ctx, o))
}

func refused(t *testing.T, o wrapped.Options, want error, text string) {
	t.Helper()
	k, err := wrapped.Open(ctx, o)
	wrappedtest.Refused(t, err, want, text)
	if k != nil {
		t.Errorf("%v, and keys", err)
	}
}

func TestTheSameForEver(t *testing.T) {
	kek := newKEK()
	dir := wrappedtest.SameForEver(t, kds.PKCS11, func(dir string, create kds.Generation) (*wrapped.Keys, error) {
		return wrappedtest.Open(kek, dir, attest.Release, create)
	})
	o := options(dir, kek)
	kek.id, o.Create = "two", 3 // another version opens what older ones wrapped
	k := open(t, o)
	if c := k.Commitments(); len(c) != 3 || c[0] == c[1] || c[1] == c[2] {
		t.Errorf("commitments %v", c)
	}
	for _, g := range []kds.Generation{0, 4} {
		if _, err := k.Key(ctx, g); !errors.Is(err, master.ErrGeneration) {
			t.Errorf("generation %d: %v", g, err)
		}
	}
	o.Create = 0
	mk, again := get(t, k, 1), open(t, o)
	if err := k.Close(); err != nil || mk.Equal(get(t, again, 1)) {
		t.Errorf("the key outlives Close: %v", err)
	}
}

// What happens to a master key is in the audit log before it happens; without that,
// nothing happens.
func TestAudit(t *testing.T) {
	dir, kek := t.TempDir(), newKEK()
	log := &wrappedtest.Audit{}
	o := options(dir, kek)
	o.Create, o.Audit = 1, log
	log.FailAt(1)
	refused(t, o, wrappedtest.ErrDisk, "nothing happens to a master key without audit")
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Error("a record was made without audit")
	}
	log.FailAt(2)
	refused(t, o, wrappedtest.ErrDisk, "without audit") // the record is there, and is held by nobody
	o.Audit = &wrappedtest.Audit{}
	k := open(t, o)
	if k.Made() != 0 {
		t.Error("a second key was made")
	}
	o.Create, o.Audit = 2, log
	log.FailAt(0)
	k = open(t, o)
	kek.err = errors.New("nobody answers")
	o.Create = 0
	refused(t, o, kek.err, "nobody answers")
	by := func(g int) string { return fmt.Sprintf("; commitment %s, wrapped by \"one\"", k.Commitments()[g-1]) }
	want := []string{
		"1 to be made" + by(1),
		"1 held from now on" + by(1),
		"2 to be made" + by(2),
		"2 held from now on" + by(2),
		"1 does not open: nobody answers" + by(1),
	}
	var got []string
	for _, e := range log.Lines() {
		got = append(got, fmt.Sprintf("%d %s", e.Key.Generation, e.Reason))
		if e.Event != audit.MasterKey || e.Key.Name != "master key of service test" || e.Key.MasterKeyType != "pkcs11" {
			t.Errorf("entry %+v, key %+v", e, e.Key)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// The KEK is not needed once the keys are open.
func TestOutage(t *testing.T) {
	dir, kek := t.TempDir(), newKEK()
	o := options(dir, kek)
	o.Create = 1
	k := open(t, o)
	kek.err = errors.New("nobody answers")
	get(t, k, 1)
	refused(t, o, kek.err, "nobody answers")
	o.Create = 2
	refused(t, o, kek.err, "nobody answers")
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("%d files are left, want the first record", len(names))
	}
}

// Simulated nodes have a development key, and never the real one.
func TestSimulated(t *testing.T) {
	dir, kek := t.TempDir(), newKEK()
	o := options(dir, kek)
	o.Create, o.Mode = 1, attest.Simulation
	if k := open(t, o); k.Type() != kds.Development {
		t.Errorf("type %s", k.Type())
	}
	o.Mode = attest.Release
	refused(t, o, wrapped.ErrRecord, `it is for the type "development", want "pkcs11"`)
}

// K40: whoever owns the disk changes records, exchanges them, or brings those of
// another service or of another key.
func TestK40_ChangedRecord(t *testing.T) {
	dir, kek := t.TempDir(), newKEK()
	o := options(dir, kek)
	for o.Create = 1; o.Create <= 2; o.Create++ {
		open(t, o)
	}
	o.Create = 0
	one, two := file(dir, 1), file(dir, 2)
	good := read(t, one)
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		write(t, one, bad)
		if _, err := wrapped.Open(ctx, o); !errors.Is(err, wrapped.ErrRecord) && !errors.Is(err, wrapped.ErrUnwrap) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	for _, n := range []int{0, 1, len(good) / 2, len(good) - 1} {
		write(t, one, good[:n])
		refused(t, o, wrapped.ErrRecord, "")
	}
	write(t, one, append(append([]byte(nil), good...), 0))
	refused(t, o, wrapped.ErrRecord, "follows the end")
	write(t, one, make([]byte, wrapped.MaxRecordBytes+1))
	refused(t, o, wrapped.ErrRecord, "at most")
	write(t, one, read(t, two))
	refused(t, o, wrapped.ErrRecord, `it is for the generation "2", want "1"`)
	if err := os.Remove(one); err != nil {
		t.Fatal(err)
	}
	refused(t, o, wrapped.ErrRecord, "is missing, and there are others")
	o.Create = 1 // nor is a lost generation made anew
	refused(t, o, wrapped.ErrRecord, "is missing, and there are others")
	o.Create = 0
	write(t, one, good)
	o.Name = "another"
	refused(t, o, wrapped.ErrRecord, `it is for the service "test", want "another"`)
	o.Name, o.KEK = "test", newKEK()
	refused(t, o, wrapped.ErrUnwrap, "another key wrapped it")
	o.KEK = kek
	open(t, o)
}

// A record is bound to what it says, also by a KEK that would wrap anything.
func TestCommitment(t *testing.T) {
	dir, kek := t.TempDir(), newKEK()
	o := options(dir, kek)
	o.Create = 1
	open(t, o)
	b := read(t, file(dir, 1))
	o.KEK = other{kek}
	if _, err := wrapped.Open(ctx, o); !errors.Is(err, wrapped.ErrRecord) {
		t.Errorf("another key than the record names: %v", err)
	}
	if string(b) != string(read(t, file(dir, 1))) {
		t.Error("the record was changed")
	}
}

// other unwraps another key than was wrapped.
type other struct{ *software }

func (other) Unwrap(context.Context, string, []byte, []byte) (key.Key, error) { return key.New(), nil }

func TestOptions(t *testing.T) {
	refused(t, wrapped.Options{}, wrapped.ErrOptions, "they need")
	o := options(filepath.Join(t.TempDir(), "none"), newKEK())
	refused(t, o, os.ErrNotExist, "none")
}

func file(dir string, g int) string {
	return filepath.Join(dir, fmt.Sprintf("master-pkcs11-%d.wrapped", g))
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// worked is a key that has wrapped one master key, once.
type worked struct{ *software }

func (worked) Unwrap(_ context.Context, id string, b, aad []byte) (key.Key, error) {
	record, _ := hex.DecodeString(workedRecord)
	if id != "00ff" || !bytes.Equal(b, bytes.Repeat([]byte{0x22}, 60)) || !bytes.Equal(aad, record[:len(record)-64]) {
		return key.Key{}, wrapped.ErrUnwrap
	}
	return key.FromBytes(bytes.Repeat([]byte{0x5a}, 32))
}

// workedRecord is the example of docs/protocol.md, "Wrapped master keys", computed
// from its table by other code.
const workedRecord = "00000020636f666665722f6b64732f76312f77726170706564206d6173746572206b657900000006706b6373313100000006706b63733131000000076578616d706c650000000400000001000000043030666600000020bab6d820e6127b63d8dd3dfdc179eedd3432b90c982953fff0e68873d36556f20000003c222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222"

func TestWorkedExample(t *testing.T) {
	dir := t.TempDir()
	record, err := hex.DecodeString(workedRecord)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file(dir, 1), record)
	o := options(dir, worked{})
	o.Name = "example"
	k := open(t, o)
	if !bytes.Equal(get(t, k, 1).Bytes(), bytes.Repeat([]byte{0x5a}, 32)) {
		t.Error("another key")
	}
	page, err := os.ReadFile("../../../docs/protocol.md")
	if err != nil || !strings.Contains(string(page), workedRecord) || !strings.Contains(string(page), k.Commitments()[0]) {
		t.Errorf("docs/protocol.md shows another record or commitment: %v", err)
	}
}

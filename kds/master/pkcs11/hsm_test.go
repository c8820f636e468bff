//go:build pkcs11 && cgo

package pkcs11_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ThalesGroup/crypto11"
	p11 "github.com/miekg/pkcs11"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/master/pkcs11"
	"github.com/coffer-fs/coffer/kds/master/pkcs11/softhsm"
	"github.com/coffer-fs/coffer/kds/master/wrapped"
	"github.com/coffer-fs/coffer/kds/master/wrapped/wrappedtest"
	"github.com/coffer-fs/coffer/key"
)

var (
	ctx = context.Background()
	get = wrappedtest.Get
)

const pin = "28641753-of-a-test"

// setUp makes a token "one" and a file of its PIN.
func setUp(t *testing.T) (*softhsm.Tokens, pkcs11.Options) {
	t.Helper()
	module := softhsm.Module(t)
	tokens := softhsm.New(t, pin, "one")
	return tokens, pkcs11.Options{Module: module, Token: "one", Key: "coffer", PINFile: pinFile(t, pin+"\n")}
}

func pinFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keys opens the HSM, then the master keys in dir, and leaves the HSM.
func keys(t *testing.T, o pkcs11.Options, dir string, create kds.Generation) (*wrapped.Keys, error) {
	t.Helper()
	kek, err := pkcs11.Open(o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := kek.Close(); err != nil {
			t.Error(err)
		}
	}()
	return wrappedtest.Open(kek, dir, attest.Release, create)
}

func mustKeys(t *testing.T, o pkcs11.Options, dir string, create kds.Generation) *wrapped.Keys {
	t.Helper()
	return wrappedtest.Must(t)(keys(t, o, dir, create))
}

func refused(t *testing.T, err, want error, text string) {
	t.Helper()
	wrappedtest.Refused(t, err, want, text)
	if err != nil && strings.Contains(err.Error(), pin) {
		t.Errorf("the PIN is in the message %q", err)
	}
}

func TestTheSameForEver(t *testing.T) {
	_, o := setUp(t)
	wrappedtest.SameForEver(t, kds.PKCS11, func(dir string, create kds.Generation) (*wrapped.Keys, error) { return keys(t, o, dir, create) })
}

// A token that is taken away stops no node that runs, and none starts.
func TestTokenRemoved(t *testing.T) {
	tokens, o := setUp(t)
	dir := t.TempDir()
	k := mustKeys(t, o, dir, 1)
	if err := os.Rename(tokens.Folder, tokens.Folder+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(tokens.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	get(t, k, 1)
	_, err := keys(t, o, dir, 0)
	refused(t, err, pkcs11.ErrToken, `open token "one"`)
	if err := errors.Join(os.Remove(tokens.Folder), os.Rename(tokens.Folder+".away", tokens.Folder)); err != nil {
		t.Fatal(err)
	}
	if again := mustKeys(t, o, dir, 0); !get(t, again, 1).Equal(get(t, k, 1)) {
		t.Error("another key when the token is back")
	}
}

// A token that is pulled out between opening and use.
func TestTokenRemovedMeanwhile(t *testing.T) {
	_, o := setUp(t)
	kek, err := pkcs11.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	id, err := kek.Current(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := kek.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := kek.Wrap(ctx, id, key.New(), nil); err == nil {
		t.Error("wrapped without a session")
	}
	if _, err := kek.Unwrap(ctx, id, make([]byte, 60), nil); err == nil {
		t.Error("unwrapped without a session")
	}
	if _, err := kek.Current(ctx); err == nil {
		t.Error("found a key without a session")
	}
}

// Another HSM, with a key of the same label, opens nothing.
func TestWrongHSM(t *testing.T) {
	_, o := setUp(t)
	dir := t.TempDir()
	first := mustKeys(t, o, dir, 1)
	record, err := os.ReadFile(filepath.Join(dir, "master-pkcs11-1.wrapped"))
	if err != nil {
		t.Fatal(err)
	}
	_, other := setUp(t)
	mustKeys(t, other, t.TempDir(), 1) // it has a key "coffer" of its own
	_, err = keys(t, other, dir, 0)
	refused(t, err, wrapped.ErrUnwrap, `the HSM's key "coffer" has the ID`)
	_, err = keys(t, other, dir, 2) // nothing is made beside what does not open
	refused(t, err, wrapped.ErrUnwrap, "")
	if after, _ := os.ReadFile(filepath.Join(dir, "master-pkcs11-1.wrapped")); string(after) != string(record) {
		t.Error("the record was changed")
	}
	get(t, first, 1)
}

func TestWrongKey(t *testing.T) {
	_, o := setUp(t)
	dir := t.TempDir()
	mustKeys(t, o, dir, 1)
	o.Key = "nothing"
	_, err := keys(t, o, dir, 0)
	refused(t, err, pkcs11.ErrKey, `token "one" has no secret key "nothing"`)
	o.Key = "second"
	mustKeys(t, o, t.TempDir(), 1)
	_, err = keys(t, o, dir, 0)
	refused(t, err, wrapped.ErrUnwrap, `the HSM's key "second" has the ID`)
}

// K41: the HSM opens only what it has wrapped, for the same public part.
func TestK41_TamperedInTheHSM(t *testing.T) {
	_, o := setUp(t)
	kek, err := pkcs11.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer kek.Close()
	id, err := kek.Current(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mk := key.New()
	b, err := kek.Wrap(ctx, id, mk, []byte("for this"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), string(mk.Bytes())) {
		t.Error("the master key is not wrapped")
	}
	if got, err := kek.Unwrap(ctx, id, b, []byte("for this")); err != nil || !got.Equal(mk) {
		t.Fatalf("unwrapped: %v", err)
	}
	_, err = kek.Unwrap(ctx, id, b, []byte("for that"))
	refused(t, err, wrapped.ErrUnwrap, "")
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 1
		_, err := kek.Unwrap(ctx, id, bad, []byte("for this"))
		refused(t, err, wrapped.ErrUnwrap, "")
	}
	for _, n := range []int{0, 11, len(b) - 1} {
		_, err := kek.Unwrap(ctx, id, b[:n], []byte("for this"))
		refused(t, err, wrapped.ErrUnwrap, "bytes")
	}
	again, err := kek.Wrap(ctx, id, mk, []byte("for this"))
	if err != nil || string(again) == string(b) {
		t.Errorf("one nonce twice: %v", err)
	}
}

func TestPIN(t *testing.T) {
	_, o := setUp(t)
	good := o.PINFile
	o.PINFile = pinFile(t, "1234")
	_, err := pkcs11.Open(o)
	refused(t, err, pkcs11.ErrPIN, `open token "one"`)
	for _, text := range []string{"", "\n", pin + "\nmore\n", strings.Repeat("1", pkcs11.MaxPINBytes+1), "12\x0034"} {
		o.PINFile = pinFile(t, text)
		_, err := pkcs11.Open(o)
		refused(t, err, pkcs11.ErrPINFile, "one line")
	}
	o.PINFile = good
	if err := os.Chmod(good, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = pkcs11.Open(o)
	refused(t, err, pkcs11.ErrPINFile, "has mode 0640")
	o.PINFile = filepath.Join(t.TempDir(), "none")
	_, err = pkcs11.Open(o)
	refused(t, err, pkcs11.ErrPINFile, "none")
}

// SoftHSM2 locks no PIN, and removes no token while it runs: what other HSMs say
// then is told by its code.
func TestCodes(t *testing.T) {
	for code, want := range map[uint]error{
		p11.CKR_PIN_LOCKED:               pkcs11.ErrLocked,
		p11.CKR_PIN_INCORRECT:            pkcs11.ErrPIN,
		p11.CKR_USER_PIN_NOT_INITIALIZED: pkcs11.ErrPIN,
		p11.CKR_DEVICE_REMOVED:           pkcs11.ErrToken,
		p11.CKR_TOKEN_NOT_PRESENT:        pkcs11.ErrToken,
		p11.CKR_SESSION_HANDLE_INVALID:   pkcs11.ErrToken,
		p11.CKR_ENCRYPTED_DATA_INVALID:   wrapped.ErrUnwrap,
	} {
		if err := pkcs11.Judge(p11.Error(code), wrapped.ErrUnwrap); !errors.Is(err, want) {
			t.Errorf("code %#x: %v, want %v", code, err, want)
		}
	}
}

func TestModule(t *testing.T) {
	_, o := setUp(t)
	o.Module = filepath.Join(t.TempDir(), "none.so")
	_, err := pkcs11.Open(o)
	refused(t, err, pkcs11.ErrModule, "failed to open module")
	o.Module = o.PINFile // not a library
	_, err = pkcs11.Open(o)
	refused(t, err, pkcs11.ErrModule, "failed to open module")
	_, err = pkcs11.Open(pkcs11.Options{})
	refused(t, err, pkcs11.ErrOptions, "needs a module")
}

// Keys that the HSM would tell, or that are not the only ones, are not used.
func TestUnfitKeys(t *testing.T) {
	_, o := setUp(t)
	c, err := crypto11.Configure(&crypto11.Config{Path: o.Module, TokenLabel: o.Token, Pin: pin})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	make := func(label string, bits int, cipher *crypto11.SymmetricCipher, attributes ...*p11.Attribute) {
		t.Helper()
		set, err := crypto11.NewAttributeSetWithIDAndLabel([]byte("id of it"), []byte(label))
		if err != nil {
			t.Fatal(err)
		}
		set.AddIfNotPresent(attributes)
		if _, err := c.GenerateSecretKeyWithAttributes(set, bits, cipher); err != nil {
			t.Fatal(err)
		}
	}
	make("extractable", 256, crypto11.CipherAES, p11.NewAttribute(p11.CKA_EXTRACTABLE, true))
	make("told", 256, crypto11.CipherAES, p11.NewAttribute(p11.CKA_SENSITIVE, false))
	make("short", 128, crypto11.CipherAES)
	make("old", 0, crypto11.CipherDES3)
	make("twice", 256, crypto11.CipherAES)
	make("twice", 256, crypto11.CipherAES)
	for label, text := range map[string]string{
		"extractable": "can be taken out of the HSM",
		"told":        "is not sensitive",
		"short":       "does not have 256 bits",
		"old":         "is not an AES key",
		"twice":       "has 2 keys",
	} {
		o.Key = label
		_, err := keys(t, o, t.TempDir(), 1)
		refused(t, err, pkcs11.ErrKey, text)
	}
}

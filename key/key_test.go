package key_test

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/key"
)

func fixed(t *testing.T) key.Key {
	t.Helper()
	k, err := key.FromBytes([]byte("0123456789abcdefghijklmnopqrstuv"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNeverPrints(t *testing.T) {
	k := fixed(t)
	type holder struct {
		K key.Key
		P *key.Key
	}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T%v"} {
		fmt.Fprintf(&out, verb, k)
		fmt.Fprintf(&out, verb, holder{k, &k})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "key", k, "held", holder{k, &k})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "key", k)
	for _, secret := range []string{"0123456789", "30313233", "48 49 50", "[48,49"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("output holds the secret %q: %s", secret, out.String())
		}
	}
	if b, err := json.Marshal(k); err == nil {
		t.Errorf("json.Marshal gave %s", b)
	}
	if err := gob.NewEncoder(&bytes.Buffer{}).Encode(k); err == nil {
		t.Error("gob encoded a key")
	}
}

// The value is pinned: it was computed with another implementation of HKDF (RFC 5869).
func TestDerive(t *testing.T) {
	k := fixed(t)
	a := k.Derive([]byte("salt"), "coffer/test", []byte("a"), []byte("bc"))
	if a.Equal(k.Derive([]byte("salt"), "coffer/test", []byte("ab"), []byte("c"))) {
		t.Error("parts are ambiguous")
	}
	if a.Equal(k.Derive(nil, "coffer/test", []byte("a"), []byte("bc"))) {
		t.Error("salt does not count")
	}
	const want = "0ea8063290da74b070420b3de2aab28ed6e08a171056374d2dd090136f73749e"
	if got := hex.EncodeToString(a.Bytes()); got != want {
		t.Errorf("derived %s, want %s", got, want)
	}
}

func TestSizeZeroDestroy(t *testing.T) {
	if _, err := key.FromBytes(make([]byte, 31)); !errors.Is(err, key.ErrSize) {
		t.Errorf("31 bytes: %v", err)
	}
	var zero key.Key
	if !zero.IsZero() || zero.Equal(zero) {
		t.Error("the zero key must equal nothing")
	}
	k := key.New()
	copied := k
	k.Destroy()
	if !bytes.Equal(copied.Bytes(), make([]byte, key.Size)) {
		t.Error("a copy survived Destroy")
	}
}

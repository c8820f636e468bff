package mail_test

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/mail"
	"github.com/coffer-fs/coffer/key"
)

// The vectors were made by testdata/vectors/gen_mail.go, which knows the tables
// of docs/protocol.md and none of this code. They are fixed for ever.
type vector struct {
	Name, Hunts, Kind, Want, Seed, Identity, Mail string
	Sender, Topic, Envelope, PrivateHeader, Body  string
	Sequence                                      uint64
	Generation                                    kds.Generation
}

type stream struct {
	Key, SHA256         string
	Size, Padded, Bytes int
}

func vectors(t testing.TB) (v struct {
	Mail    []vector
	Streams []stream
}) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "vectors", "mail.json"))
	must(t, err)
	must(t, json.Unmarshal(b, &v))
	if len(v.Mail) < 40 || len(v.Streams) < 10 {
		t.Fatalf("%d mails and %d streams", len(v.Mail), len(v.Streams))
	}
	return v
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	must(t, err)
	return b
}

func unhexKey(t testing.TB, s string) key.Key {
	t.Helper()
	k, err := key.FromBytes(unhex(t, s))
	must(t, err)
	return k
}

var classes = map[string]error{"ok": nil, "not-mail": mail.ErrNotMail, "version": mail.ErrVersion, "kind": mail.ErrKind,
	"other-key": mail.ErrOtherKey, "damaged": mail.ErrDamaged, "sender": mail.ErrSender}

func TestVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range vectors(t).Mail {
		t.Run(v.Name, func(t *testing.T) {
			seen[v.Want] = true
			sk, me := v.keys(t)
			want, known := classes[v.Want]
			if !known {
				t.Fatalf("unknown class %q", v.Want)
			}
			got, err := v.open(one{sk}, me, unhex(t, v.Mail))
			if !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("hunting %s: %v, want %v", v.Hunts, err, want)
			}
			v.Name, v.Hunts, v.Kind, v.Want, v.Seed, v.Identity, v.Mail = "", "", "", "", "", "", ""
			if got != v {
				t.Errorf("got %+v, want %+v", got, v)
			}
		})
	}
	for class := range classes {
		if !seen[class] {
			t.Errorf("no vector for %s", class)
		}
	}
}

func (v vector) keys(t testing.TB) (hpke.PrivateKey, mail.Identity) {
	t.Helper()
	sk, err := kds.KeyPair(unhexKey(t, v.Seed))
	must(t, err)
	return sk, mail.IdentityOf(unhexKey(t, v.Identity))
}

// open returns what a mail holds.
func (v vector) open(keys one, me mail.Identity, b []byte) (got vector, err error) {
	if v.Kind == "reply" {
		r, err := mail.OpenReply(bytes.NewReader(b), me, keys.sk.PublicKey())
		if err != nil {
			return vector{}, err
		}
		return fill(r.Header, vector{}, r.Body)
	}
	l, err := mail.Open(ctx, bytes.NewReader(b), keys)
	if err != nil {
		return vector{}, err
	}
	return fill(l.Header, vector{Sender: hex.EncodeToString(l.Sender), PrivateHeader: string(l.PrivateHeader)}, l.Body)
}

func fill(h mail.Header, got vector, body io.Reader) (vector, error) {
	b, err := io.ReadAll(body)
	got.Sequence, got.Generation, got.Topic, got.Envelope, got.Body = h.Sequence, h.Generation, h.Topic, string(h.Envelope), string(b)
	return got, err
}

func TestStreamVectors(t *testing.T) {
	for _, v := range vectors(t).Streams {
		body := make([]byte, v.Size)
		for i := range body {
			body[i] = byte(i % 251)
		}
		var w bytes.Buffer
		must(t, mail.SealBody(&w, unhexKey(t, v.Key), bytes.NewReader(body), int64(v.Padded)))
		if sum := sha256.Sum256(w.Bytes()); hex.EncodeToString(sum[:]) != v.SHA256 || w.Len() != v.Bytes {
			t.Errorf("%d padded to %d: %d bytes %x, want %d bytes %s", v.Size, v.Padded, w.Len(), sum, v.Bytes, v.SHA256)
		}
	}
}

// The document has the names and the limits of the code.
func TestDocument(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "protocol.md"))
	must(t, err)
	_, section, _ := strings.Cut(string(doc), "\n## Mail\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, label := range append(mail.Labels, fmt.Sprintf("at most %d", mail.MaxHeaderBytes), fmt.Sprintf("at most %d", mail.MaxEnvelopeBytes),
		fmt.Sprintf("1 to %d", mail.MaxTopicBytes), fmt.Sprintf("%d, settable to %d", mail.DefaultCachedKeys, mail.MaxCachedKeys),
		fmt.Sprintf("%d MiB", mail.MaxPaddedBytes>>20), fmt.Sprintf("names none | %d", mail.MaxOlderGenerations)) {
		if !strings.Contains(section, label) {
			t.Errorf("docs/protocol.md lacks %q in its section Mail", label)
		}
	}
}

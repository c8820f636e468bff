package mail_test

import (
	"bytes"
	"context"
	"crypto/hpke"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/mail"
	"github.com/coffer-fs/coffer/key"
)

var ctx = context.Background()

// pair is the key pair of 32 times the byte b.
func pair(t testing.TB, b byte) hpke.PrivateKey {
	t.Helper()
	k, err := key.FromBytes(bytes.Repeat([]byte{b}, key.Size))
	must(t, err)
	sk, err := kds.KeyPair(k)
	must(t, err)
	return sk
}

// one is a key source that has one key and gives it to everybody.
type one struct{ sk hpke.PrivateKey }

func (o one) MailKey(context.Context, kds.Spec, kds.Generation, mail.Fingerprint) (hpke.PrivateKey, error) {
	return o.sk, nil
}

func office(t testing.TB, sk hpke.PrivateKey) *mail.PostOffice {
	t.Helper()
	return &mail.PostOffice{From: mail.NewIdentity(), To: kdstest.Spec(t, kdstest.AppPolicy), Key: sk.PublicKey()}
}

// post returns a letter.
func post(t testing.TB, o *mail.PostOffice, body string, opts mail.Options) []byte {
	t.Helper()
	var w bytes.Buffer
	_, err := o.Post(&w, strings.NewReader(body), opts)
	must(t, err)
	return w.Bytes()
}

func open(t testing.TB, b []byte, keys mail.KeySource) *mail.Letter {
	t.Helper()
	l, err := mail.Open(ctx, bytes.NewReader(b), keys)
	must(t, err)
	return l
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	must(t, err)
	return string(b)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, what string, err, target error, text string) {
	t.Helper()
	if !errors.Is(err, target) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want %v with %q", what, err, target, text)
	}
}

func TestLetterAndReply(t *testing.T) {
	sk := pair(t, 1)
	o := office(t, sk)
	o.Topic, o.Generation = "A-z-09", 5
	opts := mail.Options{Envelope: []byte("for the host"), PrivateHeader: []byte("for the enclave")}
	post(t, o, "the first", opts)
	b := post(t, o, "the second", opts)

	h, err := mail.ReadHeader(bytes.NewReader(b))
	must(t, err)
	l := open(t, b, one{sk})
	if h.ID != l.ID || string(h.Envelope) != "for the host" || string(l.Envelope) != "for the host" || l.Topic != "A-z-09" ||
		l.Sequence != 1 || l.Generation != 5 || !l.Spec.Equal(o.To) || l.Key != mail.FingerprintOf(o.Key) || l.Kind != mail.LetterKind {
		t.Errorf("header is %+v, of the letter %+v", h, l.Header)
	}
	if !l.Sender.Equal(o.From.PublicKey()) || string(l.PrivateHeader) != "for the enclave" || readAll(t, l.Body) != "the second" {
		t.Errorf("letter is %+v", l)
	}
	for _, secret := range []string{"the second", "for the enclave", string(l.Sender)} {
		if bytes.Contains(b, []byte(secret)) {
			t.Errorf("%q is readable", secret)
		}
	}

	var w bytes.Buffer
	must(t, l.Reply(&w, strings.NewReader("the answer"), mail.ReplyOptions{Envelope: []byte("back")}))
	r, err := mail.OpenReply(&w, o.From, o.Key)
	must(t, err)
	if r.ID != l.ID || r.Topic != l.Topic || r.Sequence != 0 || string(r.Envelope) != "back" || r.Kind != mail.ReplyKind || readAll(t, r.Body) != "the answer" {
		t.Errorf("reply is %+v", r)
	}
}

// Nothing of a letter need be kept to open its replies, but for the secret.
func TestReplyAfterRestart(t *testing.T) {
	sk, seed := pair(t, 1), key.New()
	o := office(t, sk)
	o.From = mail.IdentityOf(seed)
	l := open(t, post(t, o, "", mail.Options{}), one{sk})
	for _, answer := range []string{"one", "two"} {
		var w bytes.Buffer
		must(t, l.Reply(&w, strings.NewReader(answer), mail.ReplyOptions{}))
		r, err := mail.OpenReply(&w, mail.IdentityOf(seed), pair(t, 1).PublicKey())
		must(t, err)
		if got := readAll(t, r.Body); got != answer {
			t.Errorf("reply is %q, want %q", got, answer)
		}
	}
}

// A reply is for one sender, and from the key that the letter went to.
func TestReplyRefused(t *testing.T) {
	sk := pair(t, 1)
	o := office(t, sk)
	b := post(t, o, "", mail.Options{})
	var w bytes.Buffer
	must(t, open(t, b, one{sk}).Reply(&w, strings.NewReader("answer"), mail.ReplyOptions{}))
	reply := func(me mail.Identity, from hpke.PublicKey, b []byte) error {
		_, err := mail.OpenReply(bytes.NewReader(b), me, from)
		return err
	}
	wants(t, "another sender", reply(mail.NewIdentity(), o.Key, w.Bytes()), mail.ErrOtherKey, "encrypted to")
	wants(t, "another key", reply(o.From, pair(t, 2).PublicKey(), w.Bytes()), mail.ErrDamaged, "chunk 0")
	wants(t, "a letter", reply(o.From, o.Key, b), mail.ErrKind, "it is a letter")
	wants(t, "no identity", reply(mail.Identity{}, o.Key, w.Bytes()), mail.ErrPostOffice, "there is no identity")
	wants(t, "no key", reply(o.From, nil, w.Bytes()), mail.ErrPostOffice, "there is no key")
	_, err := mail.Open(ctx, &w, one{sk})
	wants(t, "a reply as letter", err, mail.ErrKind, "it is a reply")
}

// Any instance may take any letter, in any order, more than once; the same
// sender and topic may use several keys at once.
func TestOrderAndMixing(t *testing.T) {
	first, second := pair(t, 1), pair(t, 2)
	a, b := office(t, first), office(t, second)
	b.From = a.From
	b.To.Name = "another"
	var letters [][]byte
	for i := range 6 {
		letters = append(letters, post(t, []*mail.PostOffice{a, b}[i%2], string(rune('0'+i)), mail.Options{}))
	}
	slices.Reverse(letters)
	letters = append(letters, letters[0])
	var got string
	keys := bySpec{a.To.Name: first, b.To.Name: second}
	for _, m := range letters {
		l := open(t, m, keys)
		got += readAll(t, l.Body)
		if !l.Sender.Equal(a.From.PublicKey()) || l.Topic != mail.DefaultTopic {
			t.Errorf("letter is %+v", l)
		}
	}
	if got != "5432105" {
		t.Errorf("got %s", got)
	}
}

type bySpec map[string]hpke.PrivateKey

func (m bySpec) MailKey(_ context.Context, s kds.Spec, _ kds.Generation, _ mail.Fingerprint) (hpke.PrivateKey, error) {
	return m[s.Name], nil
}

func TestPostRefused(t *testing.T) {
	sk := pair(t, 1)
	p521, err := hpke.MLKEM1024().GenerateKey()
	must(t, err)
	for _, c := range []struct {
		what   string
		change func(*mail.PostOffice, *mail.Options)
		want   error
		text   string
	}{
		{"no sender", func(o *mail.PostOffice, _ *mail.Options) { o.From = mail.Identity{} }, mail.ErrPostOffice, "no sender"},
		{"no key", func(o *mail.PostOffice, _ *mail.Options) { o.Key = nil }, mail.ErrPostOffice, "no key"},
		{"key of another suite", func(o *mail.PostOffice, _ *mail.Options) { o.Key = p521.PublicKey() }, mail.ErrPostOffice, "1216 bytes"},
		{"no spec", func(o *mail.PostOffice, _ *mail.Options) { o.To = kds.Spec{} }, mail.ErrPostOffice, "a name has"},
		{"topic", func(o *mail.PostOffice, _ *mail.Options) { o.Topic = "a b" }, mail.ErrTopic, `"a b" has something else`},
		{"long topic", func(o *mail.PostOffice, _ *mail.Options) { o.Topic = strings.Repeat("a", 256) }, mail.ErrTopic, "1 to 255"},
		{"envelope", func(_ *mail.PostOffice, p *mail.Options) { p.Envelope = make([]byte, 1<<16) }, mail.ErrLimit, "envelope of 65536 bytes"},
		{"private header", func(_ *mail.PostOffice, p *mail.Options) { p.PrivateHeader = make([]byte, 1<<16) }, mail.ErrLimit, "private header of 65536 bytes"},
	} {
		o, opts, w := office(t, sk), mail.Options{}, bytes.Buffer{}
		c.change(o, &opts)
		_, err := o.Post(&w, strings.NewReader("body"), opts)
		wants(t, c.what, err, c.want, c.text)
		if w.Len() != 0 {
			t.Errorf("%s: %d bytes were written", c.what, w.Len())
		}
	}
	l := open(t, post(t, office(t, sk), "", mail.Options{}), one{sk})
	wants(t, "reply", l.Reply(io.Discard, strings.NewReader(""), mail.ReplyOptions{Envelope: make([]byte, 1<<16)}), mail.ErrLimit, "envelope")
}

// The largest of everything passes.
func TestLargestHeader(t *testing.T) {
	sk := pair(t, 1)
	o := office(t, sk)
	o.To.Name, o.To.MasterKeyType = strings.Repeat("n", kds.MaxNameBytes), kds.AzureHSM
	var policy strings.Builder
	for i := range 120 {
		policy.WriteString("C:" + strings.Repeat("0123456789ABCDEF"[i%16:i%16+1]+"0123456789ABCDEF"[i/16:i/16+1], 32) + " ")
	}
	o.To.PolicyConstraint = kdstest.Policy(t, policy.String()+"SEC:INSECURE")
	o.Topic = strings.Repeat("t", mail.MaxTopicBytes)
	opts := mail.Options{Envelope: make([]byte, mail.MaxEnvelopeBytes), PrivateHeader: make([]byte, mail.MaxPrivateHeaderBytes)}
	l := open(t, post(t, o, "body", opts), one{sk})
	if len(l.PrivateHeader) != mail.MaxPrivateHeaderBytes || !l.Spec.Equal(o.To) || readAll(t, l.Body) != "body" {
		t.Error("the largest header changes on its way")
	}
}

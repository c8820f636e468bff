package mail_test

import (
	"bytes"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/mail"
	"github.com/coffer-fs/coffer/key"
)

// Every bit of a small letter counts, even for a key source that gives its key
// to everybody. See bitStep for what is left out under the race detector.
func TestEveryBitOfLetter(t *testing.T) {
	sk := pair(t, 1)
	b := post(t, office(t, sk), "body", mail.Options{Envelope: []byte("e"), PrivateHeader: []byte("p")})
	flipAll(t, b, func(b []byte) error {
		_, err := mail.Open(ctx, bytes.NewReader(b), one{sk})
		return err
	})
}

func TestEveryBitOfReply(t *testing.T) {
	sk := pair(t, 1)
	o := office(t, sk)
	var w bytes.Buffer
	must(t, open(t, post(t, o, "", mail.Options{}), one{sk}).Reply(&w, strings.NewReader("body"), mail.ReplyOptions{Envelope: []byte("e")}))
	flipAll(t, w.Bytes(), func(b []byte) error {
		_, err := mail.OpenReply(bytes.NewReader(b), o.From, o.Key)
		return err
	})
}

func flipAll(t *testing.T, b []byte, open func([]byte) error) {
	t.Parallel()
	must(t, open(b))
	for i := range b {
		for bit := i % bitStep; bit < 8; bit += bitStep {
			b[i] ^= 1 << bit
			if err := open(b); !refusal(err) {
				t.Fatalf("bit %d of byte %d of %d: %v", bit, i, len(b), err)
			}
			b[i] ^= 1 << bit
		}
	}
}

// refusal reports whether err is one of those for mail that is not right.
func refusal(err error) bool {
	for _, e := range []error{mail.ErrNotMail, mail.ErrVersion, mail.ErrKind, mail.ErrOtherKey, mail.ErrDamaged, mail.ErrSender} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Parts of two letters of one sender to one key do not mix.
func TestSplicing(t *testing.T) {
	sk := pair(t, 1)
	o := office(t, sk)
	a, b := post(t, o, "body a", mail.Options{}), post(t, o, "body b", mail.Options{})
	chunk := len(a) - (20 + len("body a"))
	head := chunk - (32 + 64 + 1216 + 32 + 2 + 16)
	enc := head - 1120
	for _, at := range []int{chunk, head, enc} {
		mixed := append(bytes.Clone(a[:at]), b[at:]...)
		_, err := mail.Open(ctx, bytes.NewReader(mixed), one{sk})
		wants(t, "a and b", err, mail.ErrDamaged, "")
	}
}

// A header costs no more than its limit, whatever it says.
func TestHugeHeader(t *testing.T) {
	b := append([]byte("coffmail\x01\x01"), 0xff, 0xff, 0xff, 0xff)
	_, err := mail.ReadHeader(io.MultiReader(bytes.NewReader(b), zeros{}))
	wants(t, "4 GiB", err, mail.ErrDamaged, "4294967295 bytes, at most 81920")
	if n := testing.AllocsPerRun(10, func() { _, _ = mail.ReadHeader(bytes.NewReader(b)) }); n > 20 {
		t.Errorf("%v allocations", n)
	}
}

// What Post refuses to write is refused when it is read.
func TestEnvelopeLimit(t *testing.T) {
	for size, want := range map[int]error{mail.MaxEnvelopeBytes: nil, mail.MaxEnvelopeBytes + 1: mail.ErrDamaged} {
		list := key.Info("coffer/mail/v1/header", make([]byte, 16), make([]byte, 8), []byte("topic"), make([]byte, size),
			[]byte("name"), []byte("development"), []byte(kdstest.AppPolicy), make([]byte, 4), make([]byte, 32))
		b := binary.BigEndian.AppendUint32([]byte("coffmail\x01\x01"), uint32(len(list)))
		if _, err := mail.ReadHeader(bytes.NewReader(append(b, list...))); !errors.Is(err, want) {
			t.Errorf("envelope of %d bytes: %v, want %v", size, err, want)
		}
	}
}

// Whatever opens is one of the golden mails. The seeds are fixed, because each
// process of a fuzzer makes its own.
func FuzzOpen(f *testing.F) {
	golden := map[string]bool{}
	var sk hpke.PrivateKey
	var me mail.Identity
	for _, v := range vectors(f).Mail {
		m := unhex(f, v.Mail)
		golden[string(m)] = v.Want == "ok"
		f.Add(m)
		sk, me = v.keys(f)
	}
	f.Fuzz(func(t *testing.T, m []byte) {
		h, err := mail.ReadHeader(bytes.NewReader(m))
		if err != nil && !refusal(err) {
			t.Errorf("header: %v", err)
		}
		if err == nil && (h.Spec.Check() != nil || h.Topic == "" || len(h.Envelope) > mail.MaxEnvelopeBytes) {
			t.Errorf("header %+v is accepted", h)
		}
		l, lerr := mail.Open(ctx, bytes.NewReader(m), one{sk})
		r, rerr := mail.OpenReply(bytes.NewReader(m), me, sk.PublicKey())
		if (lerr == nil || rerr == nil) && !golden[string(m)] {
			t.Errorf("%+v, %+v is accepted", l, r)
		}
		if lerr != nil && !refusal(lerr) || rerr != nil && !refusal(rerr) {
			t.Errorf("letter: %v, reply: %v", lerr, rerr)
		}
	})
}

// What opens as chunks is what would be written.
func FuzzBody(f *testing.F) {
	f.Add([]byte("body"), uint16(0), uint16(0))
	f.Add(pattern(mail.ChunkBytes), uint16(1), uint16(7))
	f.Fuzz(func(t *testing.T, data []byte, minSize, flip uint16) {
		b := sealed(t, data, int64(minSize))
		if got, err := opened(t, b); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		b[int(flip)%len(b)] ^= 1
		if got, err := opened(t, b); !errors.Is(err, mail.ErrDamaged) || !bytes.HasPrefix(data, got) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

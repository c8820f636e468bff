package handover_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/handover"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/key"
)

var (
	operator = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	verifies = operator.Public().(ed25519.PublicKey)
	volume   = kds.VolumeID{1, 2, 3}
)

func ticket(t testing.TB) handover.Ticket {
	return handover.Ticket{Volume: volume, CodeHash: kdstest.Hash("A"), Spec: kdstest.Spec(t, "C:"+string(kdstest.Hash("F"))+" SEC:STALE"),
		Expires: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func enclave(code string, mode attest.Mode, level attest.Level) kdstest.Fake {
	return kdstest.Fake{Identity: attest.Identity{CodeHash: kdstest.Hash(code), SignerHash: kdstest.Hash("B"), Level: level, Mode: mode, Timestamp: time.Now()}}
}

// message is one that p made, and the key that opens it.
func message(t testing.TB, p attest.Platform, anchored bool) (handover.Message, handover.Secrets, key.Key) {
	t.Helper()
	k := ticket(t)
	signed, err := handover.Sign(k, operator)
	if err != nil {
		t.Fatal(err)
	}
	seed := key.New()
	sk, err := kds.KeyPair(seed)
	if err != nil {
		t.Fatal(err)
	}
	s := handover.Secrets{Key: key.New()}
	m := handover.Message{Ticket: signed, Generation: 3}
	if anchored {
		m.Anchor, s.Anchor = &handover.AnchorOwner{Spec: kdstest.Spec(t, "C:"+string(kdstest.Hash("A"))), Generation: 2}, key.New()
	}
	if m, err = handover.Seal(m, k, sk.PublicKey(), s, p); err != nil {
		t.Fatal(err)
	}
	return m, s, seed
}

func taker(t testing.TB, mode attest.Mode) handover.Taker {
	return handover.Taker{Volume: volume, Spec: ticket(t).Spec, TicketKey: verifies, Mode: mode, Verifier: kdstest.Verifier()}
}

// What is sealed comes out again, and nothing else does.
func TestMessage(t *testing.T) {
	for _, anchored := range []bool{false, true} {
		sealed, s, seed := message(t, enclave("A", attest.Release, attest.Stale), anchored)
		b, err := sealed.Encode()
		if err != nil {
			t.Fatal(err)
		}
		m, err := handover.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		k, err := m.Verify(context.Background(), taker(t, attest.Release))
		if err != nil {
			t.Fatal(err)
		}
		sk, err := kds.KeyPair(seed)
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Open(k, sk)
		if err != nil || !got.Key.Equal(s.Key) || got.Anchor.IsZero() == anchored || anchored && !got.Anchor.Equal(s.Anchor) {
			t.Errorf("anchored %v: %v", anchored, err)
		}
		other, err := kds.KeyPair(key.New())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Open(k, other); !errors.Is(err, handover.ErrMessage) {
			t.Errorf("with another key: %v", err)
		}
	}
}

// A release enclave takes nothing from any but a release enclave that is worth
// something; others take from all, as they are trusted with nothing.
func TestMode(t *testing.T) {
	for _, c := range []struct {
		from  attest.Mode
		level attest.Level
		taker attest.Mode
		ok    bool
	}{
		{attest.Release, attest.Secure, attest.Release, true},
		{attest.Release, attest.Stale, attest.Release, true},
		{attest.Release, attest.Insecure, attest.Release, false},
		{attest.Debug, attest.Insecure, attest.Release, false},
		{attest.Simulation, attest.Insecure, attest.Release, false},
		{attest.Simulation, attest.Insecure, attest.Simulation, true},
		{attest.Debug, attest.Insecure, attest.Debug, true},
	} {
		m, _, _ := message(t, enclave("A", c.from, c.level), false)
		if _, err := m.Verify(context.Background(), taker(t, c.taker)); (err == nil) != c.ok || err != nil && !errors.Is(err, handover.ErrMessage) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Tickets with one defect each.
func TestTicketRefused(t *testing.T) {
	for name, change := range map[string]func(*handover.Ticket){
		"no volume":      func(k *handover.Ticket) { k.Volume = kds.VolumeID{} },
		"no code hash":   func(k *handover.Ticket) { k.CodeHash = "" },
		"half a hash":    func(k *handover.Ticket) { k.CodeHash = k.CodeHash[:32] },
		"another key":    func(k *handover.Ticket) { k.Spec.Name = "Mail" },
		"no policy":      func(k *handover.Ticket) { k.Spec = kds.Spec{Name: k.Spec.Name, MasterKeyType: k.Spec.MasterKeyType} },
		"no master type": func(k *handover.Ticket) { k.Spec.MasterKeyType = "none" },
		"no end":         func(k *handover.Ticket) { k.Expires = time.Time{} },
	} {
		k := ticket(t)
		change(&k)
		if _, err := handover.Sign(k, operator); !errors.Is(err, handover.ErrTicket) {
			t.Errorf("%s: %v", name, err)
		}
	}
	k := ticket(t)
	k.CodeHash = attest.Hash(strings.ToLower(string(k.CodeHash)))
	b, err := handover.Sign(k, operator)
	if err != nil {
		t.Fatal(err)
	}
	got, err := handover.ParseTicket(b, verifies)
	if err != nil || got.CodeHash != kdstest.Hash("A") || !got.Spec.Equal(k.Spec) || !got.Expires.Equal(k.Expires) || got.Volume != k.Volume {
		t.Errorf("%+v, %v", got, err)
	}
	if err := got.Admits(volume, kdstest.Hash("A"), got.Expires); !errors.Is(err, handover.ErrExpired) {
		t.Errorf("at its end: %v", err)
	}
	if err := got.Admits(volume, kdstest.Hash("A"), got.Expires.Add(-1)); err != nil {
		t.Errorf("before its end: %v", err)
	}
}

func FuzzTicket(f *testing.F) {
	b, err := handover.Sign(ticket(f), operator)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"ticket":{},"key":"","signature":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, by, err := handover.ReadTicket(b)
		if err == nil && (k.Volume == kds.VolumeID{} || len(by) != ed25519.PublicKeySize || k.Spec.Check() != nil) {
			t.Errorf("%+v of %x", k, by)
		}
	})
}

func FuzzMessage(f *testing.F) {
	for _, anchored := range []bool{false, true} {
		m, _, _ := message(f, enclave("A", attest.Release, attest.Stale), anchored)
		b, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := handover.Decode(b)
		if err != nil {
			return
		}
		if _, err := m.Verify(context.Background(), taker(t, attest.Release)); err == nil {
			again, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := handover.Decode(again); err != nil {
				t.Errorf("what was read can't be read again: %v", err)
			}
		}
	})
}

// A code hash in small letters, which another tool may sign, is the same hash.
func TestTicketInSmallLetters(t *testing.T) {
	spec, err := json.Marshal(ticket(t).Spec)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Appendf(nil, `{"volume":"%x","codeHash":"%s","spec":%s,"expires":"2030-01-02T03:04:05Z"}`, volume, strings.Repeat("a", 64), spec)
	signed, err := json.Marshal(map[string]any{"ticket": json.RawMessage(text), "key": verifies,
		"signature": ed25519.Sign(operator, key.Info("coffer/upgrade/v1/ticket", text))})
	if err != nil {
		t.Fatal(err)
	}
	got, err := handover.ParseTicket(signed, verifies)
	if err != nil || got.CodeHash != kdstest.Hash("A") {
		t.Errorf("%s, %v", got.CodeHash, err)
	}
}

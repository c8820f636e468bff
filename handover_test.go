package coffer_test

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

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/kds/handover"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

// The two builds of these tests; each one's spec is bound to its code hash.
var (
	oldBuild = app
	newBuild = sim.Build{CodeHash: kdstest.Hash("F"), SignerHash: app.SignerHash, ProductID: app.ProductID, RevocationLevel: 1}
)

// upgrading is a volume that belongs to oldBuild, and what its next build has.
type upgrading struct {
	old, new coffer.Options
	operator ed25519.PrivateKey
	volume   *memhost.Host
	ticket   handover.Ticket
}

// codeConfig is a configuration bound to the enclave's own code hash.
func codeConfig(t *testing.T, operator ed25519.PublicKey, anchor string) *config.Config {
	t.Helper()
	return parse(t, fmt.Sprintf(`
persistentFileSystemSize = "8m"
inMemoryFileSystemSize = 0
upgrade {
  ticketKey = "%x"
}
%s
kds {
  kdsEnclaveConstraint = "C:%s SEC:INSECURE"
  persistenceKeySpec {
    masterKeyType = "development"
    policyConstraint {
      constraint     = "SEC:INSECURE"
      useOwnCodeHash = true
    }
  }
}`, []byte(operator), anchor, kdstest.NodeBuild.CodeHash))
}

const anchorBlock = `
anchor {
  type   = "kds"
  policy = "fsync"
}`

func newUpgrading(t *testing.T, anchor string) *upgrading {
	t.Helper()
	k := kdstest.New(t, kdstest.Options{})
	operator := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	c := codeConfig(t, operator.Public().(ed25519.PublicKey), anchor)
	u := &upgrading{operator: operator, volume: memhost.New(memhost.Options{})}
	machine := cpu(t)
	u.old = coffer.Options{Config: c, Platform: start(t, machine, oldBuild), Volume: u.volume, KDSURL: k.URL, Takeover: true}
	u.new = u.old
	u.new.Platform = start(t, machine, newBuild)
	made(t, u.old)
	u.ticket = handover.Ticket{Volume: u.id(t), CodeHash: oldBuild.CodeHash, Spec: u.spec(t, newBuild), Expires: time.Now().Add(time.Hour)}
	return u
}

func (u *upgrading) id(t *testing.T) kds.VolumeID {
	t.Helper()
	_, h, err := store.ReadHeader(ctx, u.volume)
	must(t, err)
	return h.Volume
}

// spec is that of a build's volumes.
func (u *upgrading) spec(t *testing.T, b sim.Build) kds.Spec {
	t.Helper()
	return kdstest.Spec(t, "C:"+string(b.CodeHash)+" SEC:INSECURE")
}

func (u *upgrading) sign(t *testing.T, ticket handover.Ticket) []byte {
	t.Helper()
	b, err := handover.Sign(ticket, u.operator)
	must(t, err)
	return b
}

// handOver has the old enclave hand the volume over, with a right ticket.
func (u *upgrading) handOver(t *testing.T) {
	t.Helper()
	v := open(t, u.old)
	_, err := v.HandOver(ctx, u.sign(t, u.ticket))
	must(t, err)
	must(t, v.Close())
}

// kept has a volume opened that is not re-encrypted.
func kept(o coffer.Options) coffer.Options {
	o.KeepHandedOver = true
	return o
}

// A volume that is bound to a code hash goes to the next build, which could never
// have had its key; and then to it alone.
func TestHandover(t *testing.T) {
	for _, anchor := range []string{"", anchorBlock} {
		u := newUpgrading(t, anchor)
		refused(t, u.new, coffer.ErrOtherSpec, "sealed for another key spec")
		u.handOver(t)
		readable(t, u.old) // as long as nobody took it up
		readable(t, kept(u.new))
		reader := u.new
		reader.ReadOnly = true
		readable(t, reader)
		v := open(t, u.new)
		must(t, v.Upgraded(ctx))
		must(t, v.WriteFile("more", []byte("of the new one"), 0o600))
		must(t, v.Close())
		if _, h, err := store.ReadHeader(ctx, u.volume); err != nil || len(h.Slots) != 1 {
			t.Errorf("%d key slots are left, %v", len(h.Slots), err)
		}
		if m, err := store.ReadHandover(ctx, u.volume); err != nil || len(m) != 0 {
			t.Errorf("a message of %d bytes is left, %v", len(m), err)
		}
		readable(t, u.new)
		refused(t, u.old, coffer.ErrOtherSpec, "")
	}
}

// A re-encryption that is cut off goes on with the next opening, whatever was done
// before: also if only the anchor is the old spec's still.
func TestHandoverGoesOn(t *testing.T) {
	u := newUpgrading(t, anchorBlock)
	u.handOver(t)
	copies := []*memhost.Host{u.volume.Clone()}
	v := open(t, kept(u.new))
	own, err := coffer.NewSecret(ctx, u.new)
	must(t, err)
	must(t, v.Store().AddGeneration(ctx, own)) // and not the anchor
	must(t, v.Close())
	copies = append(copies, u.volume.Clone())
	v = open(t, u.new)
	must(t, v.Upgraded(ctx))
	must(t, v.Close())
	readable(t, u.new)
	for i, c := range copies { // M02
		for _, o := range []coffer.Options{u.old, u.new} {
			o.Volume = c.Clone()
			v, err := coffer.Open(ctx, o)
			if err == nil {
				t.Errorf("copy %d opens", i)
				_ = v.Close()
			}
		}
	}
}

// M01: a ticket that does not say just this is of no use.
func TestM01_ForgedTicket(t *testing.T) {
	u := newUpgrading(t, "")
	stranger := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	with := func(change func(*handover.Ticket)) []byte {
		ticket := u.ticket
		change(&ticket)
		return u.sign(t, ticket)
	}
	forged, err := handover.Sign(u.ticket, stranger)
	must(t, err)
	right := u.sign(t, u.ticket)
	for name, c := range map[string]struct {
		ticket []byte
		want   error
	}{
		"another key":              {forged, handover.ErrTicket},
		"another key, named":       {swapField(t, forged, right, "key"), handover.ErrTicket},
		"another one's signature":  {swapField(t, right, forged, "signature"), handover.ErrTicket},
		"another ticket":           {swapField(t, right, with(func(k *handover.Ticket) { k.Spec = u.spec(t, oldBuild) }), "ticket"), handover.ErrTicket},
		"a changed letter":         {bytes.Replace(right, []byte("SEC:INSECURE"), []byte("SEC:STALE"), 1), handover.ErrTicket},
		"another volume":           {with(func(k *handover.Ticket) { k.Volume[0]++ }), handover.ErrNotFor},
		"another enclave":          {with(func(k *handover.Ticket) { k.CodeHash = newBuild.CodeHash }), handover.ErrNotFor},
		"expired":                  {with(func(k *handover.Ticket) { k.Expires = time.Now().Add(-time.Second) }), handover.ErrExpired},
		"nothing":                  {nil, handover.ErrTicket},
		"a list":                   {[]byte("[]"), handover.ErrTicket},
		"cut off":                  {right[:len(right)-2], handover.ErrTicket},
		"too long":                 {append(bytes.Repeat([]byte(" "), handover.MaxTicketBytes), right...), handover.ErrTicket},
		"of a signature too short": {replaceField(t, right, "signature", "AAAA"), handover.ErrTicket},
	} {
		v := open(t, u.old)
		if _, err := v.HandOver(ctx, c.ticket); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		must(t, v.Close())
	}
	refused(t, u.new, coffer.ErrOtherSpec, "")
	if m, err := store.ReadHandover(ctx, u.volume); err != nil || len(m) > 0 {
		t.Errorf("a message was made: %q, %v", m, err)
	}
	// Another spec: signed, so the old enclave obeys; but the new one is not in it.
	v := open(t, u.old)
	_, err = v.HandOver(ctx, with(func(k *handover.Ticket) { k.Spec = u.spec(t, kdstest.NodeBuild) }))
	must(t, err)
	must(t, v.Close())
	refused(t, u.new, coffer.ErrOtherSpec, "")
	// No key for tickets at all.
	u.old.Config = codeConfigWithout(t, u.old.Config)
	v = open(t, u.old)
	if _, err := v.HandOver(ctx, right); !errors.Is(err, coffer.ErrNoTicketKey) {
		t.Errorf("without a ticket key: %v", err)
	}
	must(t, v.Close())
}

// codeConfigWithout is a configuration without its upgrade block.
func codeConfigWithout(t *testing.T, c *config.Config) *config.Config {
	t.Helper()
	text := string(c.Raw())
	a := strings.Index(text, "upgrade {")
	return parse(t, text[:a]+text[a+strings.Index(text[a:], "}")+1:])
}

// swapField is the object in a with a field of the one in b.
func swapField(t *testing.T, a, b []byte, field string) []byte {
	t.Helper()
	var from map[string]json.RawMessage
	must(t, json.Unmarshal(b, &from))
	return setField(t, a, field, from[field])
}

func replaceField(t *testing.T, a []byte, field, value string) []byte {
	t.Helper()
	raw, err := json.Marshal(value)
	must(t, err)
	return setField(t, a, field, raw)
}

func setField(t *testing.T, a []byte, field string, value json.RawMessage) []byte {
	t.Helper()
	var m map[string]json.RawMessage
	must(t, json.Unmarshal(a, &m))
	m[field] = value
	b, err := json.Marshal(m)
	must(t, err)
	return b
}

// The public key is anybody's: the host makes up a volume with the right identity,
// seals its key to the new spec, and has a right ticket. What it lacks is evidence of
// the old enclave.
func TestM01_VolumeMadeUpByHost(t *testing.T) {
	u := newUpgrading(t, "")
	u.handOver(t)
	b, err := store.ReadHandover(ctx, u.volume)
	must(t, err)
	right, err := handover.Decode(b)
	must(t, err)
	evil := start(t, cpu(t), sim.Build{CodeHash: kdstest.Hash("6"), SignerHash: oldBuild.SignerHash, ProductID: 1})
	client := kdstest.New(t, kdstest.Options{}).Client(t, evil, u.old.KDSURL)
	to, err := client.Publish(ctx, u.ticket.Spec, kds.Handover, 0)
	must(t, err)
	secret := handover.Secrets{Key: key.New()}
	made, err := handover.Seal(handover.Message{Ticket: right.Ticket, Generation: to.Generation}, u.ticket, to.Key, secret, evil)
	must(t, err)
	other := u.ticket
	other.Spec = u.spec(t, oldBuild)
	borrowed := made
	borrowed.Evidence = right.Evidence
	for name, m := range map[string]handover.Message{
		"made by another enclave":   made,
		"with the evidence of ours": borrowed,
		"sealed anew":               changed(right, func(m *handover.Message) { m.Sealed = made.Sealed }),
		"of another generation":     changed(right, func(m *handover.Message) { m.Generation++ }),
		"with an anchor": changed(right, func(m *handover.Message) {
			m.Anchor = &handover.AnchorOwner{Spec: u.ticket.Spec, Generation: 1}
			m.Sealed = append(m.Sealed, make([]byte, 32)...)
		}),
		"with another ticket": changed(right, func(m *handover.Message) { m.Ticket = u.sign(t, other) }),
		"without a ticket":    changed(right, func(m *handover.Message) { m.Ticket = nil }),
		"without evidence":    changed(right, func(m *handover.Message) { m.Evidence = attest.Evidence{} }),
		"cut off":             changed(right, func(m *handover.Message) { m.Sealed = m.Sealed[1:] }),
	} {
		o := u.new
		c := u.volume.Clone()
		o.Volume = c
		put(t, c, encode(t, m))
		v, err := coffer.Open(ctx, o)
		if err == nil {
			_ = v.Close()
		}
		if !errors.Is(err, handover.ErrMessage) && !errors.Is(err, handover.ErrTicket) && !errors.Is(err, handover.ErrNotFor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	readable(t, u.new)
}

func changed(m handover.Message, change func(*handover.Message)) handover.Message {
	m.Sealed = bytes.Clone(m.Sealed)
	change(&m)
	return m
}

func encode(t *testing.T, m handover.Message) []byte {
	t.Helper()
	b, err := m.Encode()
	must(t, err)
	return b
}

// put replaces the message of a handover, as the host can.
func put(t *testing.T, v host.Volume, message []byte) {
	t.Helper()
	w, err := v.Acquire(ctx, host.AcquireOptions{Takeover: true})
	must(t, err)
	rec, err := w.Get(ctx, "handover")
	must(t, err)
	_, err = w.Swap(ctx, "handover", rec.Version, message)
	must(t, err)
	must(t, w.Release(ctx))
}

// A handover can be taken back until it is taken up.
func TestWithdrawHandover(t *testing.T) {
	u := newUpgrading(t, "")
	u.handOver(t)
	v := open(t, u.old)
	must(t, v.WithdrawHandover(ctx))
	must(t, v.Close())
	readable(t, u.old)
	refused(t, u.new, coffer.ErrOtherSpec, "")
}

// The volume can be read and written while it is re-encrypted, and closed.
func TestHandoverBesideUse(t *testing.T) {
	u := newUpgrading(t, anchorBlock)
	v := open(t, u.old)
	for i := range 40 {
		must(t, v.WriteFile(fmt.Sprintf("file-%d", i), bytes.Repeat([]byte{byte(i)}, 60_000), 0o600))
	}
	must(t, v.Close())
	u.handOver(t)
	for range 3 {
		v := open(t, u.new)
		for i := range 10 {
			must(t, v.WriteFile(fmt.Sprintf("file-%d", i), bytes.Repeat([]byte{byte(i)}, 60_000), 0o600))
		}
		must(t, v.Close()) // which may cut it off
	}
	v = open(t, u.new)
	must(t, v.Upgraded(ctx))
	for i := range 40 {
		b, err := v.ReadFile(fmt.Sprintf("file-%d", i))
		if err != nil || !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, 60_000)) {
			t.Errorf("file %d: %d bytes, %v", i, len(b), err)
		}
	}
	if err := v.Upgraded(context.Background()); err != nil {
		t.Error(err)
	}
	must(t, v.Close())
}

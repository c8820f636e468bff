package coffer_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/seal"
)

// A volume of another spec is refused before the KDS is asked, in the terms in
// which the two differ.
func TestOtherSpec(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	o := made(t, options(t, specConfig(t, "development", "SEC:INSECURE"), k.URL))
	machine := made(t, options(t, machineConfig(t), ""))
	asked := len(k.Entries(t))
	other := func(o coffer.Options, change func(*coffer.Options)) coffer.Options { change(&o); return o }
	signer := app
	signer.SignerHash = kdstest.Hash("F")
	for text, o := range map[string]coffer.Options{
		`it is for "...", the configuration names "... REVOKE:1 ..."`: other(o, func(o *coffer.Options) {
			o.Config = specConfig(t, "development", "REVOKE:1 SEC:INSECURE")
		}),
		`it is for "... development ... SEC:INSECURE", the configuration names "... cluster ... SEC:STALE"`: other(o, func(o *coffer.Options) {
			o.Config = specConfig(t, "cluster", "SEC:STALE")
		}),
		`it is for "... S:` + string(app.SignerHash) + ` ...", the configuration names "... S:FFFF`: other(o, func(o *coffer.Options) {
			o.Platform = start(t, cpu(t), signer)
		}),
		"it is for a key of the KDS, this enclave has the key of its machine": other(o, func(o *coffer.Options) {
			o.KDSURL = ""
		}),
		"it is for the key of one machine, the configuration names a key of the KDS": other(machine, func(m *coffer.Options) {
			m.Config, m.KDSURL = o.Config, o.KDSURL
		}),
	} {
		refused(t, o, coffer.ErrOtherSpec, text)
	}
	if n := len(k.Entries(t)); n != asked {
		t.Errorf("the KDS was asked %d times", n-asked)
	}
	readable(t, o)
}

// The host changes what the slot says. It gets no key for that, and the volume
// does not open.
func TestSlotsThatLie(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	o := made(t, options(t, specConfig(t, "development", "SEC:INSECURE"), k.URL))
	h := o.Volume.(*memhost.Host)
	parsed, err := seal.ParseHeader(h.Record("header"))
	must(t, err)
	lie := func(change func([]byte) []byte) coffer.Options {
		o := o
		v := h.Clone()
		b := v.Record("header")
		d := parsed.Slots[0].Descriptor
		at := strings.Index(string(b), string(d))
		v.SetRecord("header", slices.Concat(b[:at], change(slices.Clone(d)), b[at+len(d):]))
		o.Volume = v
		return o
	}
	replace := func(old, new string) func([]byte) []byte {
		return func(d []byte) []byte {
			out := strings.Replace(string(d), old, new, 1)
			if out == string(d) || len(out) != len(d) {
				t.Fatalf("%q in %s", old, d)
			}
			return []byte(out)
		}
	}
	released := released(t, k)
	refused(t, lie(replace(kds.EnclavePersistence, "EnclavePersistencX")), coffer.ErrOtherSpec, "EnclavePersistencX")
	refused(t, lie(replace("PROD:1", "PROD:2")), coffer.ErrOtherSpec, "PROD:2")
	refused(t, lie(replace("development", "devilopment")), store.ErrDamaged, "unknown master key type")
	refused(t, lie(replace(`{"`, `["`)), store.ErrDamaged, "key slot")
	refused(t, lie(replace(`"generation":1`, `"generation":7`)), kds.ErrRefused, "generation")
	refused(t, lie(replace(`"generation":1`, `"generation":0`)), store.ErrDamaged, "")
	if n := releasedSince(t, k, released); n > 1 {
		t.Errorf("%d keys left", n)
	}
	b := h.Record("header")
	kind := slices.Clone(b)
	kind[44] = 9 // of the first slot
	o.Volume = h.Clone()
	o.Volume.(*memhost.Host).SetRecord("header", kind)
	if _, err := coffer.Open(ctx, o); err == nil {
		t.Error("a slot of an unknown kind opened")
	}
	o.Volume = h
	readable(t, o)
}

func released(t *testing.T, k *kdstest.KDS) (n int) {
	t.Helper()
	for _, e := range k.Entries(t) {
		if e.Event == audit.Released {
			n++
		}
	}
	return n
}

func releasedSince(t *testing.T, k *kdstest.KDS, before int) int { return released(t, k) - before }

func TestParseSlot(t *testing.T) {
	spec, err := json.Marshal(coffer.SpecSlot{Spec: kdstest.Spec(t, kdstest.AppPolicy), Generation: 3})
	must(t, err)
	s, m, err := coffer.ParseSlot(store.Slot{Kind: seal.SlotSpec, Descriptor: spec})
	if err != nil || s == nil || m != nil || s.Generation != 3 || !s.Spec.Equal(kdstest.Spec(t, kdstest.AppPolicy)) {
		t.Errorf("spec: %v, %v, %v", s, m, err)
	}
	s, m, err = coffer.ParseSlot(store.Slot{Kind: seal.SlotMachine, Descriptor: []byte(`{"sealedTo":"signer","info":"AQID"}`)})
	if err != nil || s != nil || m == nil || m.SealedTo != "signer" || len(m.Info) != 3 {
		t.Errorf("machine: %v, %v, %v", s, m, err)
	}
	for what, slot := range map[string]store.Slot{
		"unknown kind": {Kind: 9, Descriptor: spec},
		"no JSON":      {Kind: seal.SlotSpec, Descriptor: []byte("x")},
		"empty spec":   {Kind: seal.SlotSpec, Descriptor: []byte("{}")},
		"no machine":   {Kind: seal.SlotMachine, Descriptor: []byte(`"x"`)},
		"nothing":      {},
	} {
		if _, _, err := coffer.ParseSlot(slot); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The key that a volume was made with stays with it: whoever asks again gets it.
func TestUnlockerGivesTheKey(t *testing.T) {
	o := made(t, options(t, machineConfig(t), ""))
	_, h, err := store.ReadHeader(ctx, o.Volume)
	must(t, err)
	slots := []store.Slot{{Kind: h.Slots[0].Kind, Generation: h.Slots[0].Generation, Descriptor: h.Slots[0].Descriptor}}
	i, k, err := coffer.Unlocker(o).Unlock(ctx, slots)
	must(t, err)
	if _, err := h.Unlock(i, k); err != nil {
		t.Error(err)
	}
	if _, err := h.Unlock(0, key.New()); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("any key: %v", err)
	}
}

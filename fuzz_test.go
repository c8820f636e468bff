package coffer_test

import (
	"errors"
	"testing"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/seal"
)

// FuzzParseSlot decodes the descriptors of key slots, which come from the host: one
// of both kinds, or damage.
func FuzzParseSlot(f *testing.F) {
	f.Add(byte(seal.SlotSpec), []byte(`{"spec":{"name":"EnclavePersistence","masterKeyType":"development","policyConstraint":"SEC:INSECURE"}}`))
	f.Add(byte(seal.SlotMachine), []byte(`{"sealedTo":"signer","info":"AAAA"}`))
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		spec, machine, err := coffer.ParseSlot(store.Slot{Kind: seal.SlotKind(kind), Descriptor: b})
		switch {
		case err != nil && !errors.Is(err, store.ErrDamaged):
			t.Errorf("%q: %v", b, err)
		case err == nil && (spec == nil) == (machine == nil):
			t.Errorf("%q: spec %v and machine %v", b, spec, machine)
		}
	})
}

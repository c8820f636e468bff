package coffer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/seal"
)

// SpecSlot is the descriptor of a key slot that the KDS has the key of. It is
// public: what to ask for. JSON in the header of the volume.
type SpecSlot struct {
	Spec       kds.Spec       `json:"spec"` // its policy in canonical form
	Generation kds.Generation `json:"generation"`
}

// MachineSlot is the descriptor of a key slot that the platform has the key of.
type MachineSlot struct {
	SealedTo string `json:"sealedTo"` // "signer"
	Info     []byte `json:"info"`     // see attest.Platform.SealKey
}

const sealedToSigner = "signer"

// ParseSlot reads the descriptor of a slot: exactly one of spec and machine is
// set. Nothing of it is proven before the slot opens.
func ParseSlot(s store.Slot) (spec *SpecSlot, machine *MachineSlot, err error) {
	switch s.Kind {
	case seal.SlotSpec:
		spec = &SpecSlot{}
		err = json.Unmarshal(s.Descriptor, spec)
	case seal.SlotMachine:
		machine = &MachineSlot{}
		err = json.Unmarshal(s.Descriptor, machine)
	default:
		err = fmt.Errorf("kind %d", s.Kind)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("key slot: %w: %w", store.ErrDamaged, err)
	}
	return spec, machine, nil
}

// Unlocker opens volumes that are sealed with the key that the configuration
// names, as Open does.
func Unlocker(o Options) store.Unlocker { return o.unlocker() }

func (o Options) unlocker() store.Unlocker { return &unlocker{o} }

// unlocker asks for the key of the slot that the configuration names.
type unlocker struct{ o Options }

// Unlock implements store.Unlocker.
func (u *unlocker) Unlock(ctx context.Context, slots []store.Slot) (int, key.Key, error) {
	source, err := u.o.source()
	if err != nil {
		return 0, key.Key{}, err
	}
	if source == kds.FromKDS {
		return u.fromKDS(ctx, slots)
	}
	return u.fromMachine(slots)
}

func (u *unlocker) fromKDS(ctx context.Context, slots []store.Slot) (int, key.Key, error) {
	want, err := u.o.spec()
	if err != nil {
		return 0, key.Key{}, err
	}
	var others []string
	for i, s := range slots {
		spec, _, err := ParseSlot(s)
		if err != nil {
			return 0, key.Key{}, err
		}
		switch {
		case spec == nil:
			others = append(others, "the key of one machine")
		case spec.Spec.Equal(want):
			k, _, err := u.o.ask(ctx, want, spec.Generation)
			return i, k, err
		default:
			others = append(others, describe(spec.Spec))
		}
	}
	return 0, key.Key{}, fmt.Errorf("%w: it is sealed for %q, this enclave has %s", ErrOtherSpec, others, describe(want))
}

func (u *unlocker) fromMachine(slots []store.Slot) (int, key.Key, error) {
	for i, s := range slots {
		_, machine, err := ParseSlot(s)
		if err != nil {
			return 0, key.Key{}, err
		}
		if machine != nil && machine.SealedTo == sealedToSigner {
			k, _, err := u.o.Platform.SealKey(attest.SealToSigner, machine.Info)
			if err != nil {
				err = fmt.Errorf("machine key: %w", err)
			}
			return i, k, err
		}
	}
	return 0, key.Key{}, fmt.Errorf("%w: it needs a KDS, this enclave has the key of its machine", ErrOtherSpec)
}

// describe shows a spec to a person.
func describe(s kds.Spec) string {
	return fmt.Sprintf("%s key for %s", s.MasterKeyType, s.PolicyConstraint.Canonical())
}

// NewSecret gets the key that the configuration names, for a key slot to be made.
func NewSecret(ctx context.Context, o Options) (store.Secret, error) { return o.secret(ctx) }

func (o Options) secret(ctx context.Context) (store.Secret, error) {
	source, err := o.source()
	if err != nil {
		return store.Secret{}, err
	}
	if source != kds.FromKDS {
		return o.machineSecret()
	}
	spec, err := o.spec()
	if err != nil {
		return store.Secret{}, err
	}
	k, g, err := o.ask(ctx, spec, 0)
	if err != nil {
		return store.Secret{}, err
	}
	d, err := json.Marshal(SpecSlot{spec, g})
	return store.Secret{Kind: seal.SlotSpec, Descriptor: d, Key: k}, err
}

func (o Options) machineSecret() (store.Secret, error) {
	k, info, err := o.Platform.SealKey(attest.SealToSigner, nil)
	if err != nil {
		return store.Secret{}, fmt.Errorf("machine key: %w", err)
	}
	d, err := json.Marshal(MachineSlot{sealedToSigner, info})
	return store.Secret{Kind: seal.SlotMachine, Descriptor: d, Key: k}, err
}

// source decides where the key comes from, and warns of the weaker one.
func (o Options) source() (kds.Source, error) {
	hasSpec := o.Config.PersistenceKeySpec() != nil
	source, err := kds.ChooseSource(o.Platform.Mode(), hasSpec, o.KDSURL != "")
	if source == kds.FromMachineWarn && o.Logger != nil {
		o.Logger.Warn("a key spec is configured but no KDS URL is given: the volume gets a key of this machine, and opens on no other")
	}
	return source, err
}

// spec is the configured key spec, completed with the enclave's own values.
func (o Options) spec() (kds.Spec, error) {
	self, err := o.Platform.Self()
	if err != nil {
		return kds.Spec{}, fmt.Errorf("who am I: %w", err)
	}
	s, err := o.Config.PersistenceKeySpec().For(self)
	if err != nil {
		return kds.Spec{}, err
	}
	// The slot shows the form that the key is derived from.
	s.PolicyConstraint, err = policy.Parse(s.PolicyConstraint.Canonical())
	return s, err
}

// ask gets a key from the KDS.
func (o Options) ask(ctx context.Context, s kds.Spec, g kds.Generation) (key.Key, kds.Generation, error) {
	c := kds.Client{
		URL: o.KDSURL, Constraint: o.Config.KDS.EnclaveConstraint, Platform: o.Platform,
		Verifier: platform.Verifier(o.Platform), Timeout: o.KDSTimeout, Logger: o.Logger,
	}
	r, err := c.Release(ctx, s, kds.Storage, g)
	return r.Key, r.Generation, err
}

// known is the Unlocker of a secret one has.
type known struct{ s store.Secret }

// Unlock implements store.Unlocker.
func (k known) Unlock(_ context.Context, slots []store.Slot) (int, key.Key, error) {
	for i, s := range slots {
		if s.Kind == k.s.Kind && string(s.Descriptor) == string(k.s.Descriptor) {
			// The store destroys what it is given.
			c, err := key.FromBytes(k.s.Key.Bytes())
			return i, c, err
		}
	}
	return 0, key.Key{}, errors.New("the volume lost the key slot it was made with")
}

// ephemeralSecret is the key of a filesystem in memory.
func ephemeralSecret() store.Secret {
	return store.Secret{Kind: seal.SlotMachine, Descriptor: []byte(`{}`), Key: key.New()}
}

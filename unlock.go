package coffer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/seal"
)

// SpecSlot is the descriptor of a key slot that the KDS has the key of, or of one
// that was handed over to the spec. It is public: what to ask for. JSON in the header
// of the volume.
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
	case seal.SlotSpec, seal.SlotHandover:
		spec = &SpecSlot{}
		if err = json.Unmarshal(s.Descriptor, spec); err == nil {
			err = spec.Spec.Check()
		}
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
	wrong := fmt.Errorf("%w: it has no key slot", ErrOtherSpec)
	best, generation := -1, kds.Generation(0)
	for i, s := range slots {
		spec, _, err := ParseSlot(s)
		switch {
		case err != nil:
			return 0, key.Key{}, err
		case s.Kind == seal.SlotHandover: // see takeHandover
			continue
		case spec == nil:
			wrong = fmt.Errorf("%w: it is for the key of one machine, the configuration names a key of the KDS", ErrOtherSpec)
		case !spec.Spec.Equal(want):
			wrong = otherSpec(spec.Spec, want)
		case best < 0 || s.Generation > slots[best].Generation:
			// During a migration to a newer master key there are two slots of one
			// spec. The newer volume key opens what both do.
			best, generation = i, spec.Generation
		}
	}
	if best < 0 {
		return 0, key.Key{}, wrong
	}
	k, _, err := u.o.ask(ctx, want, generation)
	return best, k, err
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
	return 0, key.Key{}, fmt.Errorf("%w: it is for a key of the KDS, this enclave has the key of its machine", ErrOtherSpec)
}

// otherSpec says in which terms two specs differ, and leaves out the others.
func otherSpec(volume, configured kds.Spec) error {
	v, c := terms(volume), terms(configured)
	return fmt.Errorf("%w: it is for %q, the configuration names %q", ErrOtherSpec, without(v, c), without(c, v))
}

func terms(s kds.Spec) []string {
	return append([]string{s.Name, string(s.MasterKeyType)}, strings.Fields(s.PolicyConstraint.Canonical())...)
}

// without is a with dots in place of what is in b too.
func without(a, b []string) string {
	var out []string
	for _, t := range a {
		switch {
		case !slices.Contains(b, t):
			out = append(out, t)
		case len(out) == 0 || out[len(out)-1] != "...":
			out = append(out, "...")
		}
	}
	return strings.Join(out, " ")
}

// NewSecret gets the key that the configuration names, for a key slot to be made.
// If the volume of o has a slot for the machine's key already, it is that key: so
// a migration to it that was stopped can go on.
func NewSecret(ctx context.Context, o Options) (store.Secret, error) { return o.secret(ctx) }

func (o Options) secret(ctx context.Context) (store.Secret, error) {
	source, err := o.source()
	if err != nil {
		return store.Secret{}, err
	}
	if source != kds.FromKDS {
		return o.machineSecret(ctx)
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

func (o Options) machineSecret(ctx context.Context) (store.Secret, error) {
	if s, ok := o.presentMachineSecret(ctx); ok {
		return s, nil
	}
	k, info, err := o.Platform.SealKey(attest.SealToSigner, nil)
	if err != nil {
		return store.Secret{}, fmt.Errorf("machine key: %w", err)
	}
	d, err := json.Marshal(MachineSlot{sealedToSigner, info})
	return store.Secret{Kind: seal.SlotMachine, Descriptor: d, Key: k}, err
}

// presentMachineSecret is the machine's key of a slot that the volume has. The
// host chose what the slot says, so it counts only if it opens.
func (o Options) presentMachineSecret(ctx context.Context) (store.Secret, bool) {
	if o.Volume == nil {
		return store.Secret{}, false
	}
	_, h, err := store.ReadHeader(ctx, o.Volume)
	if err != nil {
		return store.Secret{}, false // there is no volume yet, or opening it will say what is wrong
	}
	for i, s := range h.Slots {
		slot := store.Slot{Kind: s.Kind, Generation: s.Generation, Descriptor: s.Descriptor}
		_, k, err := (&unlocker{o}).fromMachine([]store.Slot{slot})
		if err != nil {
			continue
		}
		if ring, err := h.Unlock(i, k); err == nil {
			for _, vk := range ring {
				vk.Destroy()
			}
			return store.Secret{Kind: s.Kind, Descriptor: s.Descriptor, Key: k}, true
		}
		k.Destroy()
	}
	return store.Secret{}, false
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

// Spec is the configured key spec, completed with the enclave's own values. The
// configuration must have one.
func Spec(o Options) (kds.Spec, error) { return o.spec() }

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
	r, err := o.client().Release(ctx, s, kds.Storage, g)
	return r.Key, r.Generation, err
}

func (o Options) client() *kds.Client {
	return &kds.Client{
		URL: o.KDSURL, Constraint: o.Config.KDS.EnclaveConstraint, Platform: o.Platform,
		Verifier: o.Evidence(), Timeout: o.KDSTimeout, Logger: o.Logger,
	}
}

// Evidence is the verifier of evidence that others show to this enclave.
func (o Options) Evidence() attest.Verifier {
	return platform.Trust{PCCS: o.PCCSURL}.Verifier(o.Platform)
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

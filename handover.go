package coffer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/handover"
	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/seal"
)

// HandOver lets the enclaves of another spec open the volume too, by an operator's
// signed ticket: it is how a volume leaves a spec that is bound to this build. It may
// be in use meanwhile. The next enclave gets a key of its own for it; until then this
// one opens it still. A handover before is void.
//
// The ticket's end is judged by this machine's clock, which is the host's.
// ErrNoTicketKey; the errors of package handover.
func (v *Volume) HandOver(ctx context.Context, ticket []byte) (handover.Ticket, error) {
	t, err := v.admit(ticket)
	if err != nil {
		return t, fmt.Errorf("hand over: %w", err)
	}
	o, _ := v.opened()
	to, err := o.client().Publish(ctx, t.Spec, kds.Handover, 0)
	if err != nil {
		return t, fmt.Errorf("hand over: %w", err)
	}
	s := handover.Secrets{Key: key.New()}
	defer s.Key.Destroy()
	m := handover.Message{Ticket: ticket, Generation: to.Generation}
	if m.Anchor, s.Anchor, err = v.anchorOwner(ctx); err != nil {
		return t, fmt.Errorf("hand over: %w", err)
	}
	if m, err = handover.Seal(m, t, to.Key, s, o.Platform); err != nil {
		return t, err
	}
	return t, v.offer(ctx, t, m, s.Key)
}

// anchorOwner is whose the record of the volume's anchor is, and the key to it; nil
// if there is no anchor in a KDS. The key is the anchor's own.
func (v *Volume) anchorOwner(ctx context.Context) (*handover.AnchorOwner, key.Key, error) {
	_, present := v.opened()
	a, ok := present.(kdsAnchor)
	if m, moving := present.(movingAnchor); moving {
		if _, err := m.new.Read(ctx, v.store.ID()); err != nil {
			if errors.Is(err, store.ErrAnchorOther) {
				err = store.ErrUnfinished
			}
			return nil, key.Key{}, err
		}
		a, ok = m.new, true
	}
	if !ok {
		return nil, key.Key{}, nil
	}
	spec, k, g, err := a.c.Owner(ctx)
	return &handover.AnchorOwner{Spec: spec, Generation: g}, k, err
}

// offer makes the slot that the secret opens, with the message beside it.
func (v *Volume) offer(ctx context.Context, t handover.Ticket, m handover.Message, secret key.Key) error {
	message, err := m.Encode()
	if err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	d, err := json.Marshal(SpecSlot{t.Spec, m.Generation})
	if err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	return v.store.HandOver(ctx, store.Secret{Kind: seal.SlotHandover, Descriptor: d, Key: secret}, message)
}

// admit reads a ticket, and refuses one that does not let this enclave hand this
// volume over.
func (v *Volume) admit(ticket []byte) (handover.Ticket, error) {
	o, _ := v.opened()
	switch {
	case o.Config.Upgrade == nil:
		return handover.Ticket{}, ErrNoTicketKey
	case o.Config.KDS == nil || o.KDSURL == "":
		return handover.Ticket{}, kds.ErrNoKDS
	}
	self, err := o.Platform.Self()
	if err != nil {
		return handover.Ticket{}, fmt.Errorf("who am I: %w", err)
	}
	t, err := handover.ParseTicket(ticket, o.Config.Upgrade.TicketKey)
	if err != nil {
		return t, err
	}
	return t, t.Admits(v.store.ID(), self.CodeHash, time.Now())
}

// WithdrawHandover takes a handover back that nobody took up yet: only this enclave's
// key opens the volume from here on. It keeps out nobody who has a copy of the volume
// with the handover in it, but where an anchor is asked.
func (v *Volume) WithdrawHandover(ctx context.Context) error {
	o, _ := v.opened()
	s, err := o.secret(ctx)
	if err != nil {
		return fmt.Errorf("withdraw handover: %w", err)
	}
	defer s.Key.Destroy()
	return v.store.Rewrap(ctx, s)
}

// handed is what was handed over to this enclave.
type handed struct {
	secret store.Secret
	anchor *kds.AnchorClient // of the spec that the anchor's record may belong to still; or nil
}

// forget destroys the keys that nobody else has by now.
func (h *handed) forget() {
	if h == nil {
		return
	}
	h.secret.Key.Destroy()
	if h.anchor != nil {
		h.anchor.Close()
	}
}

// use adds what was handed over to how a volume is opened: the secret, for the case
// that there is no slot for the enclave's own spec yet, and the anchor.
func (h *handed) use(so store.Options, a VolumeAnchor) (store.Options, VolumeAnchor) {
	if h == nil {
		return so, a
	}
	so.Unlocker = either{so.Unlocker, known{h.secret}}
	if own, ok := a.(kdsAnchor); ok && h.anchor != nil {
		a = movingAnchor{kdsAnchor{h.anchor}, own}
		so.Anchor, h.anchor = a, nil
	}
	return so, a
}

// takeHandover gets what was handed over to this enclave with the volume, nil if
// nothing was. Every byte of it is proven before it is used. If the volume has a slot
// for the enclave's own key too, because re-encrypting it was begun, it opens without:
// evidence may have expired meanwhile.
func (o Options) takeHandover(ctx context.Context) (*handed, error) {
	f, err := o.findHandover(ctx)
	if err != nil || f.slot == nil {
		return nil, err
	}
	h, err := o.provenHandover(ctx, f)
	if err != nil && f.own {
		o.Logger.Warn("the handover of the volume can't be taken up again; its own key is tried", "error", err)
		return nil, nil
	}
	return h, err
}

// provenHandover verifies what goes with a slot, and opens it.
func (o Options) provenHandover(ctx context.Context, f found) (*handed, error) {
	if o.Config.Upgrade == nil {
		return nil, fmt.Errorf("the volume was handed over: %w", ErrNoTicketKey)
	}
	b, err := store.ReadHandover(ctx, o.Volume)
	if err != nil {
		return nil, err
	}
	m, err := handover.Decode(b)
	if err != nil {
		return nil, err
	}
	t, err := m.Verify(ctx, handover.Taker{
		Volume: f.volume, Spec: f.spec, TicketKey: o.Config.Upgrade.TicketKey, Mode: o.Platform.Mode(), Verifier: o.Evidence(),
	})
	if err != nil {
		return nil, err
	}
	return o.openHandover(ctx, m, t, *f.slot)
}

// openHandover gets the private key that a verified message is sealed to, and opens
// it.
func (o Options) openHandover(ctx context.Context, m handover.Message, t handover.Ticket, slot store.Slot) (*handed, error) {
	r, err := o.client().Release(ctx, t.Spec, kds.Handover, m.Generation)
	if err != nil {
		return nil, err
	}
	defer r.Key.Destroy()
	sk, err := kds.KeyPair(r.Key)
	if err != nil {
		return nil, err
	}
	s, err := m.Open(t, sk)
	if err != nil {
		return nil, err
	}
	got := &handed{secret: store.Secret{Kind: slot.Kind, Descriptor: slot.Descriptor, Key: s.Key}}
	if m.Anchor != nil {
		defer s.Anchor.Destroy()
		got.anchor, err = kds.NewAnchorClientWithKey(o.client(), m.Anchor.Spec, s.Anchor, m.Anchor.Generation)
	}
	return got, err
}

// found is what the header of a volume says of a handover. Nothing of it is proven.
type found struct {
	slot   *store.Slot // made for this enclave's spec by a handover; nil if there is none
	own    bool        // there is a slot for the spec's own key
	volume kds.VolumeID
	spec   kds.Spec
}

// findHandover looks for a slot that was made for this enclave's spec.
func (o Options) findHandover(ctx context.Context) (f found, err error) {
	if source, err := kds.ChooseSource(o.Platform.Mode(), o.Config.PersistenceKeySpec() != nil, o.KDSURL != ""); err != nil || source != kds.FromKDS {
		return f, nil // opening the volume says what there is to say
	}
	if f.spec, err = o.spec(); err != nil {
		return f, err
	}
	_, h, err := store.ReadHeader(ctx, o.Volume)
	if err != nil {
		return f, fmt.Errorf("open volume: %w", err)
	}
	f.volume = h.Volume
	for _, s := range h.Slots {
		slot := store.Slot{Kind: s.Kind, Generation: s.Generation, Descriptor: s.Descriptor}
		spec, _, err := ParseSlot(slot)
		switch {
		case err != nil:
			return f, err
		case spec == nil || !spec.Spec.Equal(f.spec):
		case s.Kind == seal.SlotHandover:
			f.slot = &slot
		default:
			f.own = true
		}
	}
	return f, nil
}

// either is an Unlocker of two, of which the second is asked if the volume is for
// another spec than the first one's.
type either struct{ first, second store.Unlocker }

// Unlock implements store.Unlocker.
func (e either) Unlock(ctx context.Context, slots []store.Slot) (int, key.Key, error) {
	i, k, err := e.first.Unlock(ctx, slots)
	if errors.Is(err, ErrOtherSpec) {
		return e.second.Unlock(ctx, slots)
	}
	return i, k, err
}

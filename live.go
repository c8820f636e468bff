package coffer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store"
)

// MigrateOptions say how to migrate a volume that is in use. The zero value is the
// default.
type MigrateOptions struct {
	// Rewrap replaces the key slot and seals nothing anew: see migrate.Options.
	Rewrap bool
	// Control steers the migration, and calls it off.
	Control *migrate.Control
	// Progress, which may be nil, is called now and then.
	Progress func(migrate.Progress)
}

// Migrate brings the volume, while it is used, under the key that another measured
// configuration names; it goes on as one of that configuration. Nothing but the key
// and, if it is in a KDS, the owner of the anchor's record change. It may be stopped at
// any moment, and goes on when it is called again, in this session or in another that
// opens the volume with either configuration.
//
// Who gives the configuration decides who will read the volume: it must be measured
// with the enclave. ErrMigrating if a migration is under way.
func (v *Volume) Migrate(ctx context.Context, to *config.Config, o MigrateOptions) (migrate.Summary, error) {
	if !v.migrating.TryLock() {
		return migrate.Summary{}, ErrMigrating
	}
	defer v.migrating.Unlock()
	sum, err := v.migrate(ctx, to, o)
	if err != nil {
		err = fmt.Errorf("migrate: %w", err)
	}
	return sum, err
}

func (v *Volume) migrate(ctx context.Context, to *config.Config, o MigrateOptions) (sum migrate.Summary, err error) {
	from, _ := v.opened()
	dest := from
	dest.Config = to
	if dest, err = dest.checkPersistent(); err != nil {
		return sum, err
	}
	secret, err := dest.secret(ctx)
	if err != nil {
		return sum, err
	}
	defer secret.Key.Destroy()
	forth, back, err := v.moveAnchor(ctx, from, dest)
	if err != nil {
		return sum, err
	}
	mo := migrate.Options{New: secret, Rewrap: o.Rewrap, Control: o.Control, Progress: o.Progress, Logger: from.Logger}
	if forth != nil {
		mo.Anchor = forth
	}
	if !o.Rewrap && !v.store.OpensWith(secret) {
		way, err := v.wayBack(ctx, from, back)
		if err != nil {
			return sum, err
		}
		defer way.Key.Key.Destroy()
		mo.Back = way
	}
	sum, err = migrate.Live(ctx, v.store, mo)
	if err == nil && !sum.CalledOff {
		v.reopened(dest)
	}
	return sum, err
}

// wayBack is the key that the volume has now.
func (v *Volume) wayBack(ctx context.Context, from Options, anchor VolumeAnchor) (*migrate.Back, error) {
	s, err := from.secret(ctx)
	if err != nil {
		return nil, err
	}
	back := &migrate.Back{Key: s}
	if anchor != nil {
		back.Anchor = anchor
	}
	return back, nil
}

// opened is what the volume was opened with, or migrated to since.
func (v *Volume) opened() (Options, VolumeAnchor) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.options, v.anchor
}

// Options returns what the volume was opened with; after a Migrate, with the
// configuration that it was migrated to.
func (v *Volume) Options() Options {
	o, _ := v.opened()
	return o
}

func (v *Volume) reopened(o Options) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.options = o
}

// moveAnchor makes the anchor one that both configurations may have the record of,
// and returns who moves the record there, and back; nil if there is nothing to move.
func (v *Volume) moveAnchor(ctx context.Context, from, to Options) (forth, back VolumeAnchor, err error) {
	if err := sameAnchor(from, to); err != nil {
		return nil, nil, err
	}
	_, present := v.opened()
	owner, err := ownerOf(ctx, present, v.store.ID())
	if err != nil || owner == nil {
		return nil, nil, err
	}
	a, err := to.anchor()
	if err != nil {
		return nil, nil, err
	}
	forward := movingAnchor{*owner, a.(kdsAnchor)}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.anchor = forward
	v.anchors = append(v.anchors, present)
	v.asked.set(forward)
	return forward, movingAnchor{forward.new, forward.old}, nil
}

// ownerOf is whose the record of the volume's anchor is; nil if it is not in a KDS.
func ownerOf(ctx context.Context, a VolumeAnchor, volume [16]byte) (*kdsAnchor, error) {
	switch a := a.(type) {
	case kdsAnchor:
		return &a, nil
	case movingAnchor:
		_, err := a.new.Read(ctx, volume)
		if errors.Is(err, store.ErrAnchorOther) {
			return &a.old, nil
		}
		return &a.new, err
	}
	return nil, nil
}

// standIn is the anchor that a store has for all its life: the one that is really
// asked changes with the key.
type standIn struct {
	mu sync.RWMutex
	a  VolumeAnchor // guarded by mu
}

func (s *standIn) set(a VolumeAnchor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.a = a
}

func (s *standIn) get() VolumeAnchor {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.a
}

// Read implements store.Anchor.
func (s *standIn) Read(ctx context.Context, volume [16]byte) (store.AnchorState, error) {
	return s.get().Read(ctx, volume)
}

// Advance implements store.Anchor.
func (s *standIn) Advance(ctx context.Context, volume [16]byte, old, next store.AnchorState) error {
	return s.get().Advance(ctx, volume, old, next)
}

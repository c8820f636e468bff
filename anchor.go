package coffer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/store"
)

// VolumeAnchor is the anchor of a volume as the configuration says. Close it
// after the volume.
type VolumeAnchor interface {
	store.Anchor
	Close()
}

// hasAnchor reports whether the configuration names an anchor.
func (o Options) hasAnchor() bool {
	return o.Config.Anchor != nil && o.Config.Anchor.Type != config.AnchorNone
}

// anchor returns the anchor that the configuration names, nil if it names none.
// What goes with it is measured: a host that leaves the KDS out gets no volume.
func (o Options) anchor() (VolumeAnchor, error) {
	if !o.hasAnchor() {
		return nil, nil
	}
	if a := o.Config.Anchor; a.Type == config.AnchorFile {
		if o.Platform.Mode() == attest.Release {
			return nil, fmt.Errorf("%w: files are the host's, who can put older ones back: use type kds", ErrAnchor)
		}
		return fileAnchor{a.Path}, nil
	}
	if o.KDSURL == "" {
		return nil, fmt.Errorf("anchor of type kds: %w", kds.ErrNoKDS)
	}
	spec, err := o.spec()
	if err != nil {
		return nil, err
	}
	return kdsAnchor{kds.NewAnchorClient(o.client(), spec)}, nil
}

// anchored adds the configured anchor to the options of a volume. The anchor is
// nil if there is none; the caller closes it.
func (o Options) anchored(so store.Options) (store.Options, VolumeAnchor, error) {
	a, err := o.anchor()
	if err != nil {
		return so, nil, err
	}
	c := o.Config.Anchor
	switch {
	case a != nil:
		so.Anchor, so.AnchorEvery, so.ApproveAnchor = a, c.Every, c.Approve
	case c != nil:
		so.DetachAnchor = true // which the configuration says in so many words
	}
	return so, a, nil
}

func closeAnchor(a VolumeAnchor) {
	if a != nil {
		a.Close()
	}
}

// InspectAnchor tells what the anchor of a volume has, what the volume has, and
// what follows from that. It changes nothing.
func InspectAnchor(ctx context.Context, o Options) (r store.AnchorReport, err error) {
	err = o.withAnchored(ctx, store.Options{ReadOnly: true, InspectAnchor: true}, func(s *store.Store) error {
		r, err = s.AnchorReport()
		return err
	})
	return r, err
}

// AdoptAnchor gives a volume that has no anchor yet the one that the
// configuration names. Whatever copy of the volume is found becomes the newest.
func AdoptAnchor(ctx context.Context, o Options) error {
	return o.withAnchored(ctx, store.Options{AdoptAnchor: true}, func(*store.Store) error { return nil })
}

// withAnchored opens a volume that must have an anchor, for fn.
func (o Options) withAnchored(ctx context.Context, so store.Options, fn func(*store.Store) error) error {
	o, err := o.checkPersistent()
	if err != nil {
		return err
	}
	if !o.hasAnchor() {
		return fmt.Errorf("%w: the configuration names none", ErrAnchor)
	}
	so.Unlocker, so.Takeover, so.Owner, so.Logger = o.unlocker(), o.Takeover, o.Owner, o.Logger
	so, a, err := o.anchored(so)
	if err != nil {
		return err
	}
	defer closeAnchor(a)
	s, err := store.Open(ctx, o.Volume, so)
	if err != nil {
		return err
	}
	return errors.Join(fn(s), s.Close())
}

// MigrationAnchor returns the anchor for a migration from one configuration to
// another, nil if the volume has none, and how often it is to be told.
//
// The key and the anchor are changed one after the other: the new configuration
// names the same anchor as the old one.
func MigrationAnchor(from, to Options) (VolumeAnchor, time.Duration, error) {
	if !from.hasAnchor() && !to.hasAnchor() {
		return nil, 0, nil
	}
	if err := sameAnchor(from, to); err != nil {
		return nil, 0, err
	}
	f, t := from.Config.Anchor, to.Config.Anchor
	a, err := to.anchor()
	if err != nil {
		return nil, 0, err
	}
	if f.Type == config.AnchorFile {
		return a, t.Every, nil
	}
	old, err := from.anchor()
	if err != nil {
		return nil, 0, err
	}
	return movingAnchor{old.(kdsAnchor), a.(kdsAnchor)}, t.Every, nil
}

// sameAnchor refuses configurations that name different anchors.
func sameAnchor(from, to Options) error {
	if !from.hasAnchor() && !to.hasAnchor() {
		return nil
	}
	f, t := from.Config.Anchor, to.Config.Anchor
	if f == nil || t == nil || f.Type != t.Type || f.Path != t.Path {
		return fmt.Errorf("%w: a migration keeps it: name the same in both configurations, and change it before or after", ErrAnchor)
	}
	return nil
}

// kdsAnchor is an anchor in the KDS.
type kdsAnchor struct{ c *kds.AnchorClient }

// Close implements VolumeAnchor.
func (a kdsAnchor) Close() { a.c.Close() }

// Read implements store.Anchor.
func (a kdsAnchor) Read(ctx context.Context, volume [16]byte) (store.AnchorState, error) {
	s, err := a.c.Read(ctx, volume)
	return store.AnchorState(s), anchorError(err)
}

// Advance implements store.Anchor.
func (a kdsAnchor) Advance(ctx context.Context, volume [16]byte, old, next store.AnchorState) error {
	return anchorError(a.c.Advance(ctx, volume, kds.AnchorState(old), kds.AnchorState(next)))
}

// anchorError gives what an anchor in the KDS says the store's names.
func anchorError(err error) error {
	switch {
	case errors.Is(err, kds.ErrAnchorNone):
		return store.ErrAnchorEmpty
	case errors.Is(err, kds.ErrAnchorConflict):
		return store.ErrAnchorConflict
	case errors.Is(err, kds.ErrAnchorOther):
		return store.ErrAnchorOther
	}
	return err
}

// movingAnchor is that of a migration: the record may be the old spec's still.
type movingAnchor struct{ old, new kdsAnchor }

// Close implements VolumeAnchor.
func (a movingAnchor) Close() { a.old.Close(); a.new.Close() }

// Read implements store.Anchor.
func (a movingAnchor) Read(ctx context.Context, volume [16]byte) (store.AnchorState, error) {
	s, err := a.new.Read(ctx, volume)
	if errors.Is(err, store.ErrAnchorOther) {
		return a.old.Read(ctx, volume)
	}
	return s, err
}

// Advance implements store.Anchor.
func (a movingAnchor) Advance(ctx context.Context, volume [16]byte, old, next store.AnchorState) error {
	err := a.new.Advance(ctx, volume, old, next)
	if errors.Is(err, store.ErrAnchorOther) {
		return a.old.Advance(ctx, volume, old, next)
	}
	return err
}

// Move implements migrate.Mover.
func (a movingAnchor) Move(ctx context.Context, volume [16]byte) error {
	return anchorError(a.old.c.MoveTo(ctx, a.new.c, volume))
}

// fileAnchor is an anchor in a directory, which is held only while it is asked:
// several volumes may have theirs in one.
type fileAnchor struct{ path string }

// How long another process may hold the directory.
const (
	fileAnchorTries = 500
	fileAnchorPause = 10 * time.Millisecond
)

// Close implements VolumeAnchor.
func (fileAnchor) Close() {}

// Read implements store.Anchor.
func (a fileAnchor) Read(ctx context.Context, volume [16]byte) (state store.AnchorState, err error) {
	err = a.hold(ctx, func(d *anchor.Dir) error {
		r, err := d.Get(ctx, volume)
		if err == nil && r == (anchor.Record{}) {
			return store.ErrAnchorEmpty
		}
		state = store.AnchorState(r.State)
		return err
	})
	return state, err
}

// Advance implements store.Anchor.
func (a fileAnchor) Advance(ctx context.Context, volume [16]byte, old, next store.AnchorState) error {
	return a.hold(ctx, func(d *anchor.Dir) error {
		r, err := d.Get(ctx, volume)
		if err != nil {
			return err
		}
		if r.State != kds.AnchorState(old) {
			return store.ErrAnchorConflict
		}
		return d.Swap(ctx, volume, r, anchor.Record{Version: r.Version + 1, State: kds.AnchorState(next)})
	})
}

// hold calls fn with the directory held.
func (a fileAnchor) hold(ctx context.Context, fn func(*anchor.Dir) error) error {
	for range fileAnchorTries {
		d, err := anchor.OpenDir(a.path)
		if err == nil {
			return errors.Join(fn(d), d.Close())
		}
		if !errors.Is(err, anchor.ErrInUse) {
			return err
		}
		select {
		case <-time.After(fileAnchorPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("%q: %w", a.path, anchor.ErrInUse)
}

package migrate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
)

// Options say what to migrate, and to what.
type Options struct {
	// Host holds the volume. It must be set, but for Live.
	Host host.Volume
	// Old opens the volume as it is. It is asked only if New does not open it
	// yet: a migration that was begun goes on without it.
	Old store.Unlocker
	// New is the key that will open the volume. It must be set.
	New store.Secret
	// Rewrap replaces the key slot and seals nothing anew. It takes no time,
	// and keeps nobody out who has the old key and anything of the volume as it
	// was: the volume key stays the same.
	Rewrap bool
	// Anchor is that of the volume; it must be given if the volume has one. If it
	// is a Mover, it is moved to the new key as soon as that alone opens the volume.
	Anchor store.Anchor
	// AnchorEvery is how often it is told: see store.Options.
	AnchorEvery time.Duration
	// Takeover fences a present writer instead of giving way to it.
	Takeover bool
	// Owner is shown to whoever finds the volume in use. It is public.
	// Default "coffer migrate".
	Owner string
	// Progress, which may be nil, is called now and then.
	Progress func(Progress)
	// Control steers the migration while it runs. Default: it goes on as fast as it
	// can, giving way to whoever uses the volume.
	Control *Control
	// Back is the key to bring the volume back under if the migration is called off.
	// Default: it can't be called off.
	Back *Back
	// Logger receives what an operator should know. Default: silent.
	Logger *slog.Logger
}

// Back is a way back.
type Back struct {
	// Key will open the volume again. It must be set.
	Key store.Secret
	// Anchor is that of the volume, if it has one; a Mover moves to Key.
	Anchor store.Anchor
}

// Mover is an Anchor whose states belong to a key. Move gives that of a volume to
// the new key; it is no error if that has it.
type Mover interface {
	Move(ctx context.Context, volume [16]byte) error
}

// Progress is how much of a volume lives under the new key.
type Progress struct{ DoneBytes, TotalBytes int64 }

func progress(st store.KeyState) Progress { return Progress{st.Total - st.Remaining, st.Total} }

// Status says where a volume stands.
type Status int

// What Look finds.
const (
	Needed   Status = iota // the old key opens it
	Begun                  // the new key opens it, and parts are still under an old one, or have a slot for another
	Finished               // it is under the new key
)

func (s Status) String() string {
	switch s {
	case Needed:
		return "needed"
	case Begun:
		return "begun"
	case Finished:
		return "finished"
	}
	return fmt.Sprintf("status %d", int(s))
}

// Plan is what there is to do.
type Plan struct {
	Status Status
	// Progress so far.
	Progress Progress
}

// Summary is what was done.
type Summary struct {
	// Found is how the volume stood before. If Finished, nothing was done.
	Found Status
	// Bytes were sealed anew, about.
	Bytes int64
	// CalledOff: the volume is back under the key that it came from.
	CalledOff bool
	// Took is how long it took.
	Took time.Duration
}

// Look tells what there is to do, and changes nothing. An error says why the
// volume can't be migrated.
func Look(ctx context.Context, o Options) (Plan, error) {
	s, status, err := open(ctx, o, true)
	if err != nil {
		return Plan{}, fmt.Errorf("look at migration: %w", err)
	}
	p := Plan{Status: status, Progress: progress(s.KeyState())}
	if status == Needed {
		p.Progress.DoneBytes = 0
	}
	return p, s.Close()
}

// Run opens the volume and does what there is to do:
//
//  1. a slot for the new key beside the old one, and the anchor for the new key
//  2. everything sealed anew
//  3. a header with the new slot only
//
// Called with the roles of the two keys exchanged it calls off what was begun. After
// an error, or a crash, it can be run again and goes on.
func Run(ctx context.Context, o Options) (Summary, error) {
	began := time.Now()
	s, _, err := open(ctx, o, false)
	if err != nil {
		return Summary{}, fmt.Errorf("migrate: %w", err)
	}
	sum, err := Live(ctx, s, o)
	if err := errors.Join(err, s.Close()); err != nil {
		return sum, fmt.Errorf("migrate: %w", err)
	}
	sum.Took = time.Since(began)
	return sum, nil
}

// open opens the volume with the new key, or else with the old one.
func open(ctx context.Context, o Options, readOnly bool) (*store.Store, Status, error) {
	so := store.Options{
		Unlocker: store.Secrets{o.New}, ReadOnly: readOnly, Takeover: o.Takeover, Owner: o.Owner, Logger: o.Logger,
		Anchor: o.Anchor, AnchorEvery: o.AnchorEvery,
	}
	if so.Owner == "" {
		so.Owner = "coffer migrate"
	}
	s, err := store.Open(ctx, o.Host, so)
	if errors.Is(err, store.ErrWrongKey) && o.Old != nil {
		so.Unlocker = o.Old
		s, err = store.Open(ctx, o.Host, so)
	}
	if err != nil {
		return nil, 0, err
	}
	return s, status(s, o.New), nil
}

// status tells where an open volume stands on the way to a key.
func status(s *store.Store, to store.Secret) Status {
	st := s.KeyState()
	switch {
	case !s.OpensWith(to):
		return Needed
	case st.Older > 0 || st.Unused > 0:
		return Begun
	default:
		return Finished
	}
}

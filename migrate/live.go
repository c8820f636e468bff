package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/store"
)

// Live does what there is to do on an open volume, which may be in use. o.Host
// and o.Old are not looked at.
func Live(ctx context.Context, s *store.Store, o Options) (Summary, error) {
	if o.Control == nil {
		o.Control = &Control{}
	}
	o.Control.start(o.Back == nil)
	began := time.Now()
	sum := Summary{Found: status(s, o.New)}
	var err error
	switch {
	case sum.Found == Finished:
		err = s.FinishForgetting(ctx)
	case o.Rewrap:
		err = s.Rewrap(ctx, o.New)
	default:
		sum.Bytes, err = reseal(ctx, s, o, sum.Found, false)
		if errors.Is(err, errCalledOff) {
			sum.CalledOff = true
			return goBack(ctx, s, o, sum, began)
		}
	}
	if err == nil { // even if all was done: an earlier run may have ended just here
		err = moveAnchor(ctx, s, o)
	}
	if err == nil {
		o.Control.enter(Ended)
	}
	sum.Took = time.Since(began)
	return sum, err
}

// goBack brings the volume back under the key that it came from: as one more
// generation, because no volume key is ever used again.
func goBack(ctx context.Context, s *store.Store, o Options, sum Summary, began time.Time) (Summary, error) {
	o.New, o.Anchor = o.Back.Key, o.Back.Anchor
	var err error
	if found := status(s, o.New); found == Finished {
		err = moveAnchor(ctx, s, o)
	} else {
		var bytes int64
		bytes, err = reseal(ctx, s, o, found, true)
		sum.Bytes += bytes
	}
	if err == nil {
		o.Control.enter(Ended)
	}
	sum.Took = time.Since(began)
	return sum, err
}

// reseal takes the three steps, or those that are left of them.
func reseal(ctx context.Context, s *store.Store, o Options, found Status, back bool) (bytes int64, err error) {
	c := o.Control
	c.enter(Beginning)
	if found == Needed {
		if c.isCalledOff(back) {
			return 0, errCalledOff
		}
		if err := s.AddGeneration(ctx, o.New); err != nil {
			return 0, err
		}
	}
	if err := moveAnchor(ctx, s, o); err != nil { // the old key opens nothing any more
		return 0, err
	}
	c.enter(Sealing)
	before := s.KeyState()
	c.progress(progress(before))
	if err = rekey(ctx, s, o, back); err == nil {
		err = c.lastStep(back)
	}
	if err != nil {
		return before.Remaining - s.KeyState().Remaining, err
	}
	return before.Remaining, s.DropOldGenerations(ctx)
}

// rekey seals everything anew, as the Control lets it. errCalledOff.
func rekey(ctx context.Context, s *store.Store, o Options, back bool) error {
	for {
		steered, err := o.Control.begin(ctx, back)
		if err != nil {
			return err
		}
		err = s.Rekey(steered, store.RekeyOptions{
			Pace: o.Control.pace,
			Progress: func(st store.KeyState) {
				p := progress(st)
				o.Control.progress(p)
				if o.Progress != nil {
					o.Progress(p)
				}
			},
		})
		switch cause := o.Control.end(steered); {
		case errors.Is(cause, errCalledOff):
			return errCalledOff
		case errors.Is(cause, errPaused) && (err == nil || errors.Is(err, context.Canceled)):
			continue // it waits
		default:
			return err
		}
	}
}

// moveAnchor makes the new key the owner of what the anchor knows. From then on the
// old key opens no copy of the volume where an anchor is asked, however old.
func moveAnchor(ctx context.Context, s *store.Store, o Options) error {
	m, ok := o.Anchor.(Mover)
	if !ok {
		return nil
	}
	if err := m.Move(ctx, s.ID()); err != nil {
		return fmt.Errorf("move the anchor to the new key: %w", err)
	}
	return nil
}

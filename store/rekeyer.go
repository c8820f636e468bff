package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// RekeyOptions say how to rekey. The zero value goes as fast as it can while nobody
// else uses the volume, and gives way to whoever does.
type RekeyOptions struct {
	// Progress, which may be nil, is called now and then.
	Progress func(KeyState)
	// Pace, which may be nil, is called whenever about a MiB was moved, with how much
	// that was. Rekey goes on when it returns, and ends with its error. No lock is
	// held meanwhile: it may take its time.
	Pace func(ctx context.Context, bytes int64) error
}

// Rekey moves everything that lives under an older volume key under the newest
// one, while the volume is used. It may be stopped and called again, in this
// session or in another. ErrDamaged if damaged frames had to stay where they are;
// *ErrNoRoom if the host has not so much space as it takes.
func (s *Store) Rekey(ctx context.Context, o RekeyOptions) error {
	r := &rekeyer{s: s, o: o, ballast: ballast{s: s}, began: time.Now()}
	defer r.ballast.drop(context.WithoutCancel(ctx))
	var before KeyState
	for idle := 0; idle < maxIdlePasses; idle++ {
		if err := r.pass(ctx); err != nil {
			return fmt.Errorf("rekey: %w", s.tooLittle(err))
		}
		now := s.KeyState()
		r.progress()
		left, waited, err := s.waitOld(ctx)
		if err != nil || left == 0 {
			return err
		}
		if waited || now.Remaining != before.Remaining {
			idle, before = 0, now
		}
	}
	return fmt.Errorf("rekey: %d bytes can't be moved: %w", before.Remaining, ErrUnfinished)
}

// maxIdlePasses bounds how often Rekey tries again without getting anywhere.
const maxIdlePasses = 4

// rekeyer is one Rekey under way. It is used by one goroutine.
type rekeyer struct {
	s       *Store
	o       RekeyOptions
	ballast ballast

	moved  int64     // bytes since the pace was kept last
	toShow int64     // bytes until progress is told again
	uses   uint64    // of the volume by others, when it was looked at last
	began  time.Time // of what is being done since it gave way last
}

// pass empties what can be emptied, data first, because that rewrites most of the
// tree too.
func (r *rekeyer) pass(ctx context.Context) error {
	s := r.s
	if err := r.checkpoint(ctx); err != nil {
		return err
	}
	if err := s.rollLog(ctx); err != nil {
		return err
	}
	for _, g := range s.oldSegments(seal.KindLog) {
		if err := r.step(ctx, func() error { return s.empty(ctx, g, r.between) }); err != nil {
			return err
		}
	}
	if err := r.checkpoint(ctx); err != nil {
		return err
	}
	for _, ids := range s.nodeGroups(s.oldSegments(seal.KindNode)) {
		if err := r.nodes(ctx, ids); err != nil {
			return err
		}
	}
	return nil
}

// nodes has a group of node segments written anew.
func (r *rekeyer) nodes(ctx context.Context, ids map[host.SegmentID]bool) error {
	bytes := r.s.liveIn(ids)
	if err := r.step(ctx, func() error { return r.s.emptyNodes(ctx, ids) }); err != nil {
		return err
	}
	if err := r.checkpoint(ctx); err != nil {
		return err
	}
	r.moved += bytes
	return r.keepPace(ctx)
}

// checkpoint takes one, if need be in the room that was kept back for it, and keeps some
// back for the next.
func (r *rekeyer) checkpoint(ctx context.Context) error {
	err := r.s.Checkpoint(ctx)
	if errors.Is(err, ErrFull) && r.ballast.drop(ctx) {
		err = r.s.Checkpoint(ctx)
	}
	if err != nil {
		return err
	}
	return r.ballast.take(ctx)
}

// How many emptied segments may wait for a checkpoint until it is asked for, and until
// it is waited for.
const (
	someRekeyDead = 4
	maxRekeyDead  = 12
)

// step takes one step, as the one cleaner. If there is no room for it, it makes what
// room there is and takes it once more.
func (r *rekeyer) step(ctx context.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.s.cleanMu.Lock()
	defer r.s.cleanMu.Unlock()
	err := do()
	if errors.Is(err, ErrFull) {
		if err := r.checkpoint(ctx); err != nil {
			return err
		}
		err = do()
	}
	if err != nil {
		return err
	}
	r.progress()
	r.s.mu.Lock()
	dead := r.s.deadSegments()
	r.s.mu.Unlock()
	switch {
	case dead >= maxRekeyDead:
		return r.checkpoint(ctx)
	case dead >= someRekeyDead:
		r.s.kick(kickCheckpoint)
	}
	return nil
}

// between is called after each piece of a segment was copied, with cleanMu held: it
// lets others clean, and takes as much of the machine as is left.
func (r *rekeyer) between(ctx context.Context, bytes int64) error {
	r.s.cleanMu.Unlock()
	defer r.s.cleanMu.Lock()
	r.moved += bytes
	if r.toShow -= bytes; r.toShow <= 0 {
		r.progress()
	}
	return r.keepPace(ctx)
}

// showEvery is after how many bytes progress is told.
const showEvery = 8 << 20

func (r *rekeyer) progress() {
	r.toShow = showEvery
	if r.o.Progress != nil {
		r.o.Progress(r.s.KeyState())
	}
}

// keepPace gives way to others, and then to the caller.
func (r *rekeyer) keepPace(ctx context.Context) error {
	if err := r.giveWay(ctx); err != nil {
		return err
	}
	if r.o.Pace != nil {
		if err := r.o.Pace(ctx, r.moved); err != nil {
			return err
		}
	}
	r.moved, r.began = 0, time.Now()
	return ctx.Err()
}

// maxGiveWay bounds how long it gives way at once.
const maxGiveWay = 250 * time.Millisecond

// giveWay rests for as long as the last piece took, if others used the volume
// meanwhile: so they have at least half of what they would have alone. What was
// copied is made durable first, so that no Commit of theirs has to wait for it.
func (r *rekeyer) giveWay(ctx context.Context) error {
	uses := r.s.uses.Load()
	if uses == r.uses {
		return nil
	}
	if err := r.s.commitOwn(ctx); err != nil {
		return err
	}
	r.uses = r.s.uses.Load()
	select {
	case <-time.After(min(time.Since(r.began), maxGiveWay)):
	case <-ctx.Done():
	}
	return ctx.Err()
}

// commitOwn makes durable what the store itself changed, for nobody who waits.
func (s *Store) commitOwn(ctx context.Context) error {
	s.mu.Lock()
	want := s.log.sequence
	if s.log.open != nil && !s.log.open.empty() {
		want++
	}
	s.mu.Unlock()
	return s.commitTogether(ctx, want)
}

// liveIn is how much lives in these segments.
func (s *Store) liveIn(ids map[host.SegmentID]bool) (bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range ids {
		if g := s.table.byID[id]; g != nil {
			bytes += g.live
		}
	}
	return bytes
}

// rekeySegments is how many free segments rekeying needs: one for what is copied, and
// one for the nodes of a checkpoint.
const rekeySegments = 2

// tooLittle says of a lack of room on the host how much is needed.
func (s *Store) tooLittle(err error) error {
	if errors.Is(err, host.ErrNoSpace) {
		return &ErrNoRoom{Need: rekeySegments * s.segmentSize, err: err}
	}
	return err
}

// ErrNoRoom: the host's disk is full. What was done so far lasts, and rekeying goes
// on when there is room.
type ErrNoRoom struct {
	Need int64 // bytes that must be free on the host
	err  error
}

func (e *ErrNoRoom) Error() string {
	return fmt.Sprintf("it needs %d bytes free on the host: %v", e.Need, e.err)
}

// Unwrap gives what went wrong.
func (e *ErrNoRoom) Unwrap() error { return e.err }

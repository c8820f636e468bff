package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// A volume comes under a new key in three steps, each of which a crash may
// interrupt anywhere:
//
//	AddGeneration       a slot for the new key beside the old one, and a root
//	                    under a new volume key
//	Rekey               every segment of an older generation is emptied
//	DropOldGenerations  a header with the new slot only
//
// Until the first root under the new volume key is there, both keys open the
// volume; from then on the new one does. What is left to do is seen from the
// segments, so the steps can be taken again from the first.
//
// Who changes his mind in the middle adds a third generation, for the key the
// volume came from or for yet another: volume keys are never used again.

// KeyState tells where a volume stands between two keys.
type KeyState struct {
	// Generation is that of the volume key that new data is sealed under.
	Generation uint32
	// Older is how many earlier volume keys the volume still needs.
	Older int
	// Unused is how many later volume keys have a slot although nothing was ever sealed
	// under them: a change to another key was cut off before it began.
	Unused int
	// Remaining is how many bytes live under them, and Total how many live.
	Remaining, Total int64
}

// KeyState returns where the volume stands.
func (s *Store) KeyState() KeyState {
	s.mu.Lock()
	defer s.mu.Unlock()
	ring := *s.ring.Load()
	st := KeyState{Generation: ring.Newest(), Older: len(ring) - 1, Unused: s.unusedSlots, Total: s.live}
	for _, g := range s.table.byID {
		if g.generation != st.Generation {
			st.Remaining += g.live
		}
	}
	return st
}

// AddGeneration makes a new random volume key, which secret opens, and seals
// everything under it from here on. The volume keys so far are wrapped under the
// new one, never the other way round. ErrUnfinished if the volume needs
// maxGenerations already.
func (s *Store) AddGeneration(ctx context.Context, secret Secret) error {
	s.cleanMu.Lock()
	defer s.cleanMu.Unlock()
	if err := s.beginForgetting(ctx); err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return s.addGeneration(ctx, secret) },
		s.checkpointAnchored, // the first root under the new key
		s.rollLog,
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("add key: %w", s.tooLittle(err))
		}
	}
	return nil
}

// maxGenerations is how many volume keys a volume may need at once: the one it came
// from, the one it was going to, and the one it goes to instead.
const maxGenerations = 3

// checkpointAnchored is Checkpoint for what the anchor must know at once, however
// often it is told otherwise.
func (s *Store) checkpointAnchored(ctx context.Context) error {
	if err := s.Checkpoint(ctx); err != nil {
		return err
	}
	return s.anchorNow(ctx)
}

func (s *Store) addGeneration(ctx context.Context, secret Secret) error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	old := *s.ring.Load()
	if len(old) >= maxGenerations {
		return ErrUnfinished
	}
	// A number that no slot had, not even one that was never used.
	g := s.lastGeneration + 1
	slot, err := newSlot(secret, g)
	if err != nil {
		return err
	}
	ring := seal.Keyring{g: key.New()}
	for n, vk := range old {
		ring[n] = vk
	}
	before := s.secret
	if err := s.swapHeader(ctx, []seal.SlotSecret{before, slot}, ring); err != nil {
		slot.Key.Destroy()
		return err
	}
	before.Key.Destroy()
	return nil
}

// newSlot is a slot with a copy of the secret's key.
func newSlot(secret Secret, generation uint32) (seal.SlotSecret, error) {
	k, err := key.FromBytes(secret.Key.Bytes())
	return seal.SlotSecret{Kind: secret.Kind, Generation: generation, Descriptor: secret.Descriptor, Key: k}, err
}

// rollLog moves the log on to a segment of the newest generation, if it is not
// in one.
func (s *Store) rollLog(ctx context.Context) error {
	s.prepareMu.Lock()
	defer s.prepareMu.Unlock()
	s.mu.Lock()
	if err := s.usable(); err != nil {
		s.mu.Unlock()
		return err
	}
	newest := s.root.generation
	done := s.log.seg.generation == newest
	if !done && s.log.next != nil && s.log.next.generation == newest {
		defer s.mu.Unlock()
		return s.moveOn() // the one that was made ready will do
	}
	stale := s.log.next
	if stale != nil && stale.generation == newest {
		stale = nil
	}
	if stale != nil {
		s.log.next = nil
	}
	s.mu.Unlock()
	if stale != nil {
		if err := s.host.Delete(ctx, stale.id); err != nil && !isNotFound(err) {
			return fmt.Errorf("move the log: %w", err) // DropOldGenerations tries again
		}
	}
	if done {
		return nil
	}
	g, err := s.makeSegment(ctx, seal.KindLog, spaceSession)
	if err != nil || g == nil {
		return fmt.Errorf("move the log: %w", cmp.Or(err, ErrFull))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.making--
	s.log.next = g
	return s.moveOn()
}

// moveOn ends the log's segment where it is. The next one is ready. Callers hold mu.
func (s *Store) moveOn() error {
	if err := s.closeBatch(0); err != nil {
		return err
	}
	return s.roll()
}

// oldSegments returns the segments of a kind that are of an older generation,
// those with the least in them first.
func (s *Store) oldSegments(kind seal.Kind) []*segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := s.ring.Load().Newest()
	type candidate struct {
		seg  *segment
		live int64
	}
	var old []candidate
	for _, g := range s.table.byID {
		if g.generation != newest && g.kind == kind && !g.doomed && !g.stuck && g != s.log.seg && g != s.nodes.seg {
			old = append(old, candidate{g, g.live})
		}
	}
	slices.SortFunc(old, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.live, b.live), cmp.Compare(a.seg.id, b.seg.id))
	})
	segs := make([]*segment, len(old))
	for i, c := range old {
		segs[i] = c.seg
	}
	return segs
}

// nodeGroups divides node segments into groups, each of which one checkpoint
// writes anew before it frees them.
func (s *Store) nodeGroups(segs []*segment) []map[host.SegmentID]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var groups []map[host.SegmentID]bool
	var bytes int64
	for i, g := range segs {
		if bytes += g.live; i == 0 || bytes > int64(s.maxDirty()/2) {
			groups = append(groups, map[host.SegmentID]bool{})
			bytes = g.live
		}
		groups[len(groups)-1][g.id] = true
	}
	return groups
}

// waitOld tells how many segments of older generations are left. If only Views and
// flushes keep them it waits until one of these ends.
func (s *Store) waitOld(ctx context.Context) (count int, waited bool, err error) {
	s.mu.Lock()
	left := s.leftOld()
	stuck := slices.DeleteFunc(slices.Clone(left), func(g *segment) bool { return !g.stuck })
	movable := slices.ContainsFunc(left, func(g *segment) bool { return !g.stuck && !s.inUse(g) })
	wait := s.waitRelease()
	s.mu.Unlock()
	if len(left) == len(stuck) {
		if len(left) == 0 {
			return 0, false, nil
		}
		return 0, false, fmt.Errorf("rekey: damaged frames keep %d segments under the old key, the first is segment %d: %w",
			len(stuck), stuck[0].id, ErrDamaged)
	}
	if movable {
		return len(left), false, nil
	}
	select {
	case <-wait:
		return len(left), true, nil
	case <-ctx.Done():
		return len(left), true, ctx.Err()
	}
}

// leftOld returns the segments of older generations that are still there. Callers
// hold mu.
func (s *Store) leftOld() (left []*segment) {
	newest := s.ring.Load().Newest()
	for _, g := range s.table.byID {
		if g.generation != newest {
			left = append(left, g)
		}
	}
	slices.SortFunc(left, func(a, b *segment) int { return cmp.Compare(a.id, b.id) })
	return left
}

// inUse reports whether a View or a Flush keeps g. Callers hold mu.
func (s *Store) inUse(g *segment) bool {
	oldest := s.oldestView()
	return g.pins > 0 || slices.ContainsFunc(s.graves, func(v grave) bool { return v.seg == g && v.tick > oldest })
}

// release wakes who waits for Views and flushes to end. Callers hold mu.
func (s *Store) release() {
	if s.released != nil {
		close(s.released)
		s.released = nil
	}
}

// DropOldGenerations makes the volume forget the keys of older generations:
// from here on only the newest slot opens it, and a header with any other is
// refused, and with it slots of later generations that were never used. ErrUnfinished
// if anything is left under older ones; host.ErrHeld if the host was asked to keep
// something of them.
func (s *Store) DropOldGenerations(ctx context.Context) error {
	s.cleanMu.Lock()
	defer s.cleanMu.Unlock()
	for _, step := range []func(context.Context) error{
		s.deleteStrays,
		// That they are gone must be durable before their key is.
		func(ctx context.Context) error { return s.forget(ctx, true) },
		s.forgetScrub,
		s.dropOld,
		// The root that refuses any older header.
		s.checkpointAnchored,
		// The older headers and roots themselves.
		func(ctx context.Context) error { return s.forget(ctx, false) },
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("drop old keys: %w", err)
		}
	}
	s.forgetHandover(ctx)
	return nil
}

func (s *Store) dropOld(ctx context.Context) error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	s.mu.Lock()
	left := len(s.leftOld())
	s.mu.Unlock()
	if left > 0 {
		return fmt.Errorf("%d segments are left: %w", left, ErrUnfinished)
	}
	ring := *s.ring.Load()
	newest := ring.Newest()
	if s.secret.Generation != newest || s.root.generation != newest {
		return ErrUnfinished
	}
	if err := s.swapHeader(ctx, []seal.SlotSecret{s.secret}, seal.Keyring{newest: ring[newest]}); err != nil {
		return err
	}
	for g, vk := range ring {
		if g != newest {
			vk.Destroy()
		}
	}
	return nil
}

// Rewrap replaces the key slot and leaves the volume key as it is. Who kept the
// old key and anything with the old slot in it, as every segment made so far has
// in its preamble, can still read the volume. ErrUnfinished between two
// generations.
func (s *Store) Rewrap(ctx context.Context, secret Secret) error {
	s.cleanMu.Lock()
	defer s.cleanMu.Unlock()
	if err := s.rewrap(ctx, secret); err != nil {
		return fmt.Errorf("rewrap: %w", err)
	}
	// The root that refuses the header with the old slot.
	if err := s.checkpointAnchored(ctx); err != nil {
		return fmt.Errorf("rewrap: %w", err)
	}
	s.forgetHandover(ctx)
	return nil
}

func (s *Store) rewrap(ctx context.Context, secret Secret) error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	ring := *s.ring.Load()
	if len(ring) > 1 {
		return ErrUnfinished
	}
	slot, err := newSlot(secret, ring.Newest())
	if err != nil {
		return err
	}
	before := s.secret
	if err := s.swapHeader(ctx, []seal.SlotSecret{slot}, ring); err != nil {
		slot.Key.Destroy()
		return err
	}
	before.Key.Destroy()
	return nil
}

// OpensWith reports whether secret is that of the volume's newest key slot.
func (s *Store) OpensWith(secret Secret) bool {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	have := s.secret
	return have.Kind == secret.Kind && bytes.Equal(have.Descriptor, secret.Descriptor) && have.Key.Equal(secret.Key)
}

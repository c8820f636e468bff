package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/tree"
)

// Open opens a volume and recovers it:
//
//  1. become its only writer
//  2. read the header and unlock a key slot
//  3. read the root and the segment table
//  4. replay the log behind the root
//  5. refuse what the anchor speaks against, and claim the next epoch there
//  6. begin a session: a log segment of its own, named by a new root
//
// Read-only opening does steps 2 to 5 without the claim, and changes nothing.
func Open(ctx context.Context, v host.Volume, o Options) (*Store, error) {
	o = o.withDefaults()
	s := newStore(v, o)
	if !o.ReadOnly {
		w, err := v.Acquire(ctx, host.AcquireOptions{Owner: o.Owner, Takeover: o.Takeover})
		if err != nil {
			return nil, fmt.Errorf("open volume: %w", noVolume(err))
		}
		s.host, s.reader = w, w
	}
	if err := s.open(ctx); err != nil {
		if s.host != nil {
			err = errors.Join(err, s.host.Release(context.WithoutCancel(ctx)))
		}
		return nil, fmt.Errorf("open volume: %w", asDamage(noVolume(err)))
	}
	s.startWorker()
	return s, nil
}

// newStore is a Store that is not open yet.
func newStore(r host.Reader, o Options) *Store {
	s := &Store{
		reader: r, logger: o.Logger, options: o,
		table: newTable(), views: map[uint64]int{},
		kicks: make(chan struct{}, 1), done: make(chan struct{}),
		cleanKicks:  make(chan struct{}, 1),
		appendKicks: make(chan struct{}, 1),
		reapKicks:   make(chan struct{}, 1),
		frames:      newFrameCache(o.FrameCacheBytes),
	}
	s.nodes.s = s
	s.log.unsynced = map[host.SegmentID]bool{}
	return s
}

func (s *Store) open(ctx context.Context) error {
	if err := s.unlock(ctx); err != nil {
		return err
	}
	if err := s.loadRoot(ctx); err != nil {
		return err
	}
	if err := s.askAnchor(ctx); err != nil {
		return err
	}
	s.log.sequence, s.log.chain = s.root.log.sequence, s.root.log.chain
	s.anchor.note(s.log.sequence, s.log.chain)
	if !s.root.clean {
		if err := s.replay(ctx); err != nil {
			return err
		}
	}
	if err := s.checkAnchor(); err != nil || s.host == nil {
		return err
	}
	s.log.appended, s.log.durable = s.log.sequence, s.log.sequence
	s.log.appendedChain, s.log.durableChain = s.log.chain, s.log.chain
	if err := s.syncReplayed(ctx); err != nil {
		return err
	}
	if err := s.claimAnchor(ctx); err != nil {
		return err
	}
	return s.beginSession(ctx)
}

// syncReplayed makes durable what was read back: if only the process died, what
// it appended last may be known to the host's memory alone.
func (s *Store) syncReplayed(ctx context.Context) error {
	ids := slices.Collect(maps.Keys(s.log.unsynced))
	if len(ids) == 0 {
		return nil
	}
	if err := s.host.Sync(ctx, ids...); err != nil {
		return fmt.Errorf("sync the replayed log: %w", err)
	}
	clear(s.log.unsynced)
	return nil
}

// unlock reads the header and opens one of its slots.
func (s *Store) unlock(ctx context.Context) error {
	rec, h, err := ReadHeader(ctx, s.reader)
	if err != nil {
		return err
	}
	i, k, err := s.options.Unlocker.Unlock(ctx, publicSlots(h))
	if err != nil {
		return err
	}
	if i < 0 || i >= len(h.Slots) {
		k.Destroy()
		return fmt.Errorf("key slot %d of %d: %w", i, len(h.Slots), ErrWrongKey)
	}
	slot := h.Slots[i]
	s.secret = seal.SlotSecret{Kind: slot.Kind, Generation: slot.Generation, Descriptor: slot.Descriptor, Key: k}
	ring, err := h.Unlock(i, k)
	if err != nil {
		k.Destroy()
		return sealError(err)
	}
	s.volume = h.Volume
	s.segmentSize = int64(1) << h.SegmentShift
	return s.useHeader(rec, h, ring)
}

// ReadHeader reads a volume's header, which needs no key and proves nothing.
func ReadHeader(ctx context.Context, r host.Reader) (host.Record, seal.Header, error) {
	rec, err := r.Get(ctx, recordHeader)
	if err != nil {
		return rec, seal.Header{}, fmt.Errorf("read header: %w", noVolume(err))
	}
	h, err := seal.ParseHeader(rec.Value)
	if err != nil {
		return rec, h, sealError(err)
	}
	return rec, h, nil
}

// sealError gives errors of package seal this package's names.
func sealError(err error) error {
	for from, to := range map[error]error{
		seal.ErrVersion: ErrVersion, seal.ErrWrongKey: ErrWrongKey, seal.ErrDamaged: ErrDamaged, seal.ErrLimit: ErrTooLarge,
	} {
		if errors.Is(err, from) {
			return fmt.Errorf("%w: %w", to, err)
		}
	}
	return err
}

func noVolume(err error) error {
	if isNotFound(err) && !errors.Is(err, ErrNoVolume) {
		return fmt.Errorf("%w: %w", ErrNoVolume, err)
	}
	return err
}

func publicSlots(h seal.Header) []Slot {
	slots := make([]Slot, len(h.Slots))
	for i, s := range h.Slots {
		slots[i] = Slot{s.Kind, s.Generation, s.Descriptor}
	}
	return slots
}

// loadRoot reads the root, the segment table and the place of the tree.
func (s *Store) loadRoot(ctx context.Context) error {
	rec, err := s.reader.Get(ctx, recordRoot)
	if err != nil {
		if isNotFound(err) {
			return fmt.Errorf("the volume has a header but no root: %w", ErrDamaged)
		}
		return fmt.Errorf("read root: %w", err)
	}
	info, err := seal.ParseRoot(rec.Value)
	if err != nil {
		return sealError(err)
	}
	r, err := s.openRoot(info)
	if err != nil {
		return err
	}
	if r.sequence != info.Sequence || info.Size() != len(rec.Value) {
		return fmt.Errorf("root %d: %w", info.Sequence, ErrDamaged)
	}
	if r.headerSequence > s.headerSequence {
		return fmt.Errorf("header %d is older than root %d, which goes with header %d or later: %w",
			s.headerSequence, r.sequence, r.headerSequence, ErrDamaged)
	}
	s.rootVersion = rec.Version
	s.anchor.root = sha256.Sum256(rec.Value)
	return s.useRoot(ctx, r)
}

// useRoot takes up a verified root: the segment table and the place of the tree.
func (s *Store) useRoot(ctx context.Context, r root) (err error) {
	s.root = r
	s.capacity, s.nextSegment = r.capacity, r.nextSegment
	if err := s.loadTable(ctx, r); err != nil {
		return err
	}
	s.tree, err = tree.Open(s.loadNode, s.options.NodeCacheBytes, r.tree, r.level)
	if err != nil {
		return err
	}
	return s.loadSnapshots(ctx)
}

// openRoot verifies a root, under the volume's own key and identity.
func (s *Store) openRoot(info seal.RootInfo) (root, error) {
	vk, ok := (*s.ring.Load())[info.Generation]
	if !ok {
		return root{}, fmt.Errorf("root %d is sealed for key generation %d, which this key does not open: %w: %w",
			info.Sequence, info.Generation, ErrNewerKey, ErrWrongKey)
	}
	if info.Volume != s.volume {
		return root{}, fmt.Errorf("root %d belongs to another volume: %w", info.Sequence, ErrDamaged)
	}
	p, err := info.Open(vk)
	if err != nil {
		return root{}, sealError(err)
	}
	r, err := parseRoot(p)
	r.generation = info.Generation
	return r, err
}

func (s *Store) loadTable(ctx context.Context, r root) error {
	pages := make([]page, len(r.pages))
	for i, p := range r.pages {
		plain, err := s.readPage(ctx, p)
		if err != nil {
			return fmt.Errorf("segment table: page %d at %d:%d: %w", i, p.segment, p.offset, err)
		}
		pages[i] = page{p, plain}
	}
	if err := s.table.load(pages); err != nil {
		return err
	}
	for _, g := range s.table.slots {
		if g != nil {
			s.live += g.live
		}
	}
	for _, p := range r.pages {
		if s.table.byID[p.segment] == nil { // made for this page alone
			s.table.add(&segment{id: p.segment, kind: seal.KindNode, generation: p.generation, salt: p.salt})
		}
	}
	return nil
}

func (s *Store) readPage(ctx context.Context, p pagePtr) ([]byte, error) {
	g := &segment{id: p.segment, kind: seal.KindNode, generation: p.generation, salt: p.salt}
	if p.length < seal.TagSize || p.length > pageSegments*entrySize+seal.TagSize {
		return nil, fmt.Errorf("frame of %d bytes: %w", p.length, ErrDamaged)
	}
	return s.readFrame(ctx, g, seal.FrameTable, p.offset, p.length)
}

// loadNode is the tree's Loader.
func (s *Store) loadNode(ctx context.Context, p tree.Ptr) ([]byte, error) {
	if p.Length < seal.TagSize || p.Length > tree.MaxNode+seal.TagSize {
		return nil, fmt.Errorf("frame of %d bytes: %w", p.Length, ErrDamaged)
	}
	g := s.segment(p.Segment)
	if g == nil {
		return nil, fmt.Errorf("segment %d is not in the volume: %w", p.Segment, ErrDamaged)
	}
	if frame := s.nodes.pending(p.Segment, p.Offset, p.Length); frame != nil {
		return s.openFrame(g, seal.FrameNode, p.Offset, frame)
	}
	return s.readFrame(ctx, g, seal.FrameNode, p.Offset, p.Length)
}

// beginSession starts a log segment of this session's own and names it in a
// new root, a copy of which begins the segment. What replay recovered becomes
// part of that root.
func (s *Store) beginSession(ctx context.Context) error {
	if err := s.goOnForgetting(ctx); err != nil {
		return fmt.Errorf("begin session: %w", err)
	}
	listed, err := s.host.Segments(ctx)
	if err != nil {
		return fmt.Errorf("begin session: list segments: %w", err)
	}
	s.skipNumbers(listed)
	g, err := s.makeSegment(ctx, seal.KindLog, spaceSession)
	if err != nil {
		return fmt.Errorf("begin session: %w", err)
	}
	if g == nil {
		return fmt.Errorf("begin session: no segment left: %w", ErrFull)
	}
	s.mu.Lock()
	s.making--
	s.table.add(g)
	s.log.seg, s.log.offset = g, seal.PreambleSize
	s.root.session++
	s.mu.Unlock()
	if err := s.checkpointAs(ctx, kindFirst); err != nil {
		return fmt.Errorf("begin session: %w", err)
	}
	s.deleteOrphans(ctx, listed)
	return s.shrink(ctx)
}

// shrink gives back what sessions that crashed took beyond the volume's size, as
// far as it can: the next session may crash as well.
func (s *Store) shrink(ctx context.Context) error {
	for range maxReclaimTries {
		more, err := s.cleanStep(ctx, s.totalSegments(), gainAtNeed)
		if errors.Is(err, ErrFull) || err == nil && !more {
			return nil
		}
		if err != nil {
			return fmt.Errorf("begin session: %w", err)
		}
	}
	return nil
}

// skipNumbers avoids the numbers of segments that a session left behind which
// never came to be named by a root. What the host lists is a hint.
func (s *Store) skipNumbers(listed []host.SegmentInfo) {
	const trusted = host.MaxSegmentID / 2
	for _, g := range s.table.slots {
		if g != nil {
			s.nextSegment = max(s.nextSegment, g.id+1)
		}
	}
	for _, i := range listed {
		if i.ID < trusted {
			s.nextSegment = max(s.nextSegment, i.ID+1)
		}
	}
}

// maxOrphans bounds the deletes that one opening makes at the host's word.
const maxOrphans = 1024

// deleteOrphans deletes the listed segments that are not in the volume: they were
// begun by a session that ended before a root named them.
func (s *Store) deleteOrphans(ctx context.Context, listed []host.SegmentInfo) {
	left := maxOrphans
	for _, i := range listed {
		if s.segment(i.ID) != nil {
			continue
		}
		if left--; left < 0 {
			s.logger.Warn("more segments that are not in the volume are left to the next opening", "listed", len(listed))
			return
		}
		if err := s.host.Delete(ctx, i.ID); err != nil && !isNotFound(err) {
			s.logger.Warn("delete orphan segment", "segment", i.ID, "error", err)
		}
	}
}

package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// maxQueue is how many closed batches may wait to be appended: one that is being
// appended, one behind it, and one that was closed while the next is being filled.
const maxQueue = 3

// log is the open end of the log, guarded by Store.mu.
type log struct {
	seg      *segment
	offset   uint32 // where the next batch begins
	open     *batch // nil if nothing was put in since the last one
	queue    []*batch
	next     *segment // made ready to follow seg, nil if not yet
	sequence uint64   // of the batch closed last
	chain    [32]byte // up to it
	appended uint64   // the batch appended last
	durable  uint64   // the batch known to be durable
	unsynced map[host.SegmentID]bool
	bytes    int64 // closed since the last checkpoint
	records  int64 // of these, records

	appendedChain, durableChain [32]byte // up to these two batches

	buffers [][]byte // for batches, free
}

// errWait tells that something must be waited for without the lock, and the
// operation then be tried again.
type errWait struct{ wait func(context.Context) error }

func (errWait) Error() string { return "store: internal: wait and try again" }

// room returns the open batch if so many bytes of frames and records fit into
// it, after closing one or moving to the next segment if they do not. An errWait
// asks the caller to wait unlocked. Callers hold mu.
func (s *Store) room(frames, records int, class spaceClass) (*batch, error) {
	for range 3 {
		if err := s.usable(); err != nil {
			return nil, err
		}
		if s.closing {
			return nil, ErrClosed
		}
		if frames > 0 && s.crowded(class) {
			return nil, errWait{func(ctx context.Context) error { return s.reclaim(ctx, class, false) }}
		}
		l := &s.log
		if l.open != nil {
			if l.open.fits(frames, records) {
				return l.open, nil
			}
			if err := s.closeBatch(0); err != nil {
				return nil, err
			}
			s.kickAppender()
		}
		if len(l.queue) >= maxQueue {
			return nil, errWait{s.shorten}
		}
		b := newBatch(l.seg, l.offset, s.segmentSize, s.takeBuffer())
		if b.fits(frames, records) {
			l.open = b
			return b, nil
		}
		s.giveBuffer(b.buf)
		if l.next == nil || s.crowded(class) {
			return nil, errWait{func(ctx context.Context) error { return s.prepareNext(ctx, class) }}
		}
		if err := s.roll(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%d bytes for one batch: %w", frames+records, ErrTooLarge)
}

// crowded reports whether there are more segments than the class may make: then
// the open one, or the next, was made for cleaning, and is not for others. Callers
// hold mu.
func (s *Store) crowded(class spaceClass) bool {
	return class < spaceCleaning && s.countSegments() > s.limitSegments(class)
}

// roll ends the open segment with a batch that introduces the next one. Callers
// hold mu; no batch is open.
func (s *Store) roll() error {
	l := &s.log
	b := newBatch(l.seg, l.offset, s.segmentSize+finalRoom, s.takeBuffer())
	b.records = appendSegmentRecord(b.records, l.next)
	l.open = b
	if err := s.closeBatch(flagLast); err != nil {
		return err
	}
	s.table.add(l.next)
	l.seg, l.offset, l.next = l.next, seal.PreambleSize, nil
	// A root may name the segment before anything is appended to it: with the
	// batch that introduces it, its existence becomes durable.
	l.unsynced[l.seg.id] = true
	s.kickCleaner()
	s.kick(kickNext)
	return nil
}

// closeBatch closes the open batch, if there is one, and queues it. Callers
// hold mu.
func (s *Store) closeBatch(flags uint32) error {
	l := &s.log
	b := l.open
	if b == nil {
		return nil
	}
	if b.empty() {
		l.open = nil
		s.giveBuffer(b.buf)
		return nil
	}
	k, err := s.key(b.seg)
	if err != nil {
		return err
	}
	l.sequence++
	b.close(k, batchHeader{sequence: l.sequence, synced: l.durable, flags: flags, previous: l.chain})
	l.chain = b.header.chain()
	b.chain = l.chain
	l.offset += b.header.size
	l.bytes += int64(b.header.size)
	l.records += int64(b.header.recordsSize)
	l.queue = append(l.queue, b)
	l.open = nil
	return nil
}

// drain appends all closed batches, in order.
func (s *Store) drain(ctx context.Context) error { return s.appendQueued(ctx, 0) }

// shorten appends closed batches until there is room for one more: mostly it only
// waits for the appender.
func (s *Store) shorten(ctx context.Context) error { return s.appendQueued(ctx, maxQueue-1) }

// appendQueued appends closed batches, in order, until no more than left are left.
func (s *Store) appendQueued(ctx context.Context, left int) error {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	for {
		s.mu.Lock()
		if err := s.usable(); err != nil || len(s.log.queue) <= left {
			s.mu.Unlock()
			return err
		}
		b := s.log.queue[0]
		s.mu.Unlock()
		if err := s.appendBatch(ctx, b); err != nil {
			return err
		}
	}
}

// appendBatch appends the first batch of the queue. Callers hold appendMu.
func (s *Store) appendBatch(ctx context.Context, b *batch) error {
	b.frames.Wait()
	// Once the host may have seen the batch, giving up would leave it unknown
	// whether it is there: a cancelled caller must not cause that.
	err := s.host.Append(context.WithoutCancel(ctx), b.seg.id, int64(b.start), b.buf)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return s.fail(fmt.Errorf("append batch %d to segment %d: %w", b.header.sequence, b.seg.id, err))
	}
	s.log.unsynced[b.seg.id] = true
	s.appended(b)
	return nil
}

// drainSynced appends all closed batches and, if the host can do that in one call,
// syncs with the last one: then it is done.
func (s *Store) drainSynced(ctx context.Context) (done bool, err error) {
	both, ok := s.host.(host.AppendSyncer)
	if !ok {
		return false, s.drain(ctx)
	}
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	for {
		s.mu.Lock()
		if err := s.usable(); err != nil || len(s.log.queue) == 0 {
			s.mu.Unlock()
			return false, err
		}
		b, last := s.log.queue[0], len(s.log.queue) == 1
		s.mu.Unlock()
		if last {
			return true, s.appendSynced(ctx, both, b)
		}
		if err := s.appendBatch(ctx, b); err != nil {
			return false, err
		}
	}
}

// appendSynced appends the only batch of the queue, and syncs the log. Callers hold
// syncMu and appendMu.
func (s *Store) appendSynced(ctx context.Context, both host.AppendSyncer, b *batch) error {
	b.frames.Wait()
	s.mu.Lock()
	s.log.unsynced[b.seg.id] = true
	ids := slices.Collect(maps.Keys(s.log.unsynced))
	clear(s.log.unsynced)
	s.mu.Unlock()
	err := both.AppendSync(context.WithoutCancel(ctx), b.seg.id, int64(b.start), b.buf, ids...) // as in appendBatch
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return s.fail(fmt.Errorf("append batch %d to segment %d, and sync: %w", b.header.sequence, b.seg.id, err))
	}
	s.appended(b)
	s.log.durable, s.log.durableChain = b.header.sequence, b.chain
	return nil
}

// appended notes that the first batch of the queue is on the host. Callers hold mu.
func (s *Store) appended(b *batch) {
	l := &s.log
	l.queue = l.queue[1:]
	l.appended, l.appendedChain = b.header.sequence, b.chain
	s.giveBuffer(b.buf)
}

// Commit makes every Update that returned before durable. An error is final:
// the volume has become read-only.
func (s *Store) Commit(ctx context.Context) error {
	s.uses.Add(1)
	s.mu.Lock()
	want := s.log.sequence
	if s.log.open != nil && !s.log.open.empty() {
		want++ // what it gets when it is closed
	}
	s.mu.Unlock()
	if err := s.commitTogether(ctx, want); err != nil {
		return err
	}
	return s.anchorCommit(ctx, want)
}

// commitTogether is commitTo for who does not hold syncMu. One commits for all who
// came before it began, and tells all of them at once: were they to pass a lock on
// from one to the next, the group behind them would begin when the last had it.
func (s *Store) commitTogether(ctx context.Context, want uint64) error {
	for {
		s.mu.Lock()
		if err := s.usable(); err != nil || s.log.durable >= want {
			s.mu.Unlock()
			return err
		}
		under := s.committing
		if under == nil {
			s.committing = make(chan struct{})
			s.mu.Unlock()
			return s.commitForAll(ctx, want)
		}
		s.mu.Unlock()
		select {
		case <-under:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// commitForAll is commitTo by the one whom the others wait for.
func (s *Store) commitForAll(ctx context.Context, want uint64) error {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(s.committing)
		s.committing = nil
	}()
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	return s.commitTo(ctx, want)
}

// commitTo makes all batches up to want durable. Callers hold syncMu.
func (s *Store) commitTo(ctx context.Context, want uint64) error {
	s.mu.Lock()
	if err := s.usable(); err != nil || s.log.durable >= want {
		s.mu.Unlock()
		return err
	}
	err := s.closeBatch(0)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if done, err := s.drainSynced(ctx); done || err != nil {
		return err
	}
	s.mu.Lock()
	upTo, chain := s.log.appended, s.log.appendedChain
	ids := make([]host.SegmentID, 0, len(s.log.unsynced))
	for id := range s.log.unsynced {
		ids = append(ids, id)
	}
	clear(s.log.unsynced)
	s.mu.Unlock()
	err = s.host.Sync(context.WithoutCancel(ctx), ids...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return s.fail(fmt.Errorf("sync the log up to batch %d: %w", upTo, err))
	}
	s.log.durable, s.log.durableChain = upTo, chain
	return nil
}

// prepareNext makes the segment that will follow the open one.
func (s *Store) prepareNext(ctx context.Context, class spaceClass) error {
	for {
		done, err := s.tryPrepareNext(ctx, class)
		if done || err != nil {
			return err
		}
		// Making room may need a segment itself, so not with the lock held.
		if err := s.reclaim(ctx, class, true); err != nil {
			return err
		}
	}
}

func (s *Store) tryPrepareNext(ctx context.Context, class spaceClass) (done bool, err error) {
	s.prepareMu.Lock()
	defer s.prepareMu.Unlock()
	s.mu.Lock()
	hasNext := s.log.next != nil
	done, err = hasNext && !s.crowded(class), s.usable()
	s.mu.Unlock()
	if done || hasNext || err != nil {
		return done, err
	}
	g, err := s.makeSegment(ctx, seal.KindLog, class)
	if g == nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.next = g
	s.making--
	s.paced()
	return true, nil
}

// makeSegment creates a segment with a fresh salt, and writes its preamble. The segment is not in the table yet, but counted in
// making until the caller puts it there. nil if the class has no room.
func (s *Store) makeSegment(ctx context.Context, kind seal.Kind, class spaceClass) (*segment, error) {
	if !s.takeSpace(class) {
		return nil, nil
	}
	g, err := s.createSegment(ctx, kind)
	if err != nil {
		s.mu.Lock()
		s.making--
		s.mu.Unlock()
		return nil, err
	}
	return g, nil
}

// maxCreateTries bounds how many numbers are tried for one segment: a host may
// hold segments that the volume knows nothing of.
const maxCreateTries = 16

func (s *Store) createSegment(ctx context.Context, kind seal.Kind) (*segment, error) {
	g := &segment{kind: kind, generation: s.newGeneration(kind)}
	rand.Read(g.salt[:])
	for range maxCreateTries {
		s.mu.Lock()
		g.id = s.nextSegment
		s.nextSegment++
		s.mu.Unlock()
		if g.id > host.MaxSegmentID {
			return nil, fmt.Errorf("segment numbers are used up: %w", ErrFull)
		}
		err := s.host.Create(ctx, g.id, s.segmentSize)
		if errors.Is(err, host.ErrExists) {
			continue
		}
		if errors.Is(err, host.ErrNoSpace) {
			return nil, fmt.Errorf("create segment %d: %w: %w", g.id, ErrFull, err)
		}
		if err != nil {
			return nil, fmt.Errorf("create segment %d: %w", g.id, err)
		}
		return g, s.writePreamble(ctx, g)
	}
	return nil, fmt.Errorf("create segment: the host holds %d unknown segments in a row: %w", maxCreateTries, ErrDamaged)
}

// newGeneration is whose volume key new segments of a kind are made under: the
// newest one; but the log, which continues a root, follows only once there is
// a root under it, so that whatever key opens the root opens all of the log.
func (s *Store) newGeneration(kind seal.Kind) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == seal.KindLog && s.log.seg != nil {
		return s.root.generation
	}
	return s.ring.Load().Newest()
}

func (s *Store) writePreamble(ctx context.Context, g *segment) error {
	p := seal.Preamble{
		Kind: g.kind, Volume: s.volume, Number: uint64(g.id),
		Generation: g.generation, Salt: g.salt, Header: *s.header.Load(),
	}
	if err := s.host.Append(context.WithoutCancel(ctx), g.id, 0, p.Encode()); err != nil {
		_ = s.host.Delete(ctx, g.id) // nothing refers to it; found again at the next open
		return fmt.Errorf("begin segment %d: %w", g.id, err)
	}
	return nil
}

func (s *Store) takeBuffer() []byte {
	if n := len(s.log.buffers); n > 0 {
		b := s.log.buffers[n-1]
		s.log.buffers = s.log.buffers[:n-1]
		return b
	}
	return make([]byte, min(maxBatch, s.segmentSize))
}

func (s *Store) giveBuffer(b []byte) {
	if len(s.log.buffers) < maxQueue+1 {
		s.log.buffers = append(s.log.buffers, b[:cap(b)])
	}
}

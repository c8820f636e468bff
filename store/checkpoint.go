package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/tree"
)

// Names of the records a volume keeps on its host.
const (
	recordHeader = "header"
	recordRoot   = "root"
)

// Checkpoint writes the present state of the map, so that the log before it is
// no longer needed. It happens by itself; tests and tools may ask for it.
func (s *Store) Checkpoint(ctx context.Context) error { return s.checkpointAs(ctx, kindUsual) }

// checkpointKind says when in a session a checkpoint is taken.
type checkpointKind int

const (
	kindUsual checkpointKind = iota
	kindFirst                // begins the session: nothing is in its log yet
	kindLast                 // ends it: no batch will follow
)

// frozenState is the volume as one checkpoint will leave it.
type frozenState struct {
	tree    *tree.Frozen
	entries []entry // by slot
	pinned  map[*segment]bool
	log     logPosition
	kind    checkpointKind
	quiet   bool // neither a batch nor a header since the last root
	logged  int64
	records int64
}

// checkpointAs makes the present state a root:
//
//  1. freeze the map and the table, and end a batch there
//  2. make the log durable up to there, because the map refers to its frames
//  3. write the changed nodes, then the changed pages of the table
//  4. write a copy of the root, and make all of it durable
//  5. swap the root
//  6. delete the segments that no state needs any more
func (s *Store) checkpointAs(ctx context.Context, kind checkpointKind) error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	return s.checkpointLocked(ctx, kind)
}

// checkpointLocked is checkpointAs for who holds ckptMu.
func (s *Store) checkpointLocked(ctx context.Context, kind checkpointKind) error {
	f, err := s.freeze(kind)
	if err != nil {
		return err
	}
	pages, r, err := s.writeState(ctx, f)
	if err != nil {
		s.mu.Lock()
		f.tree.Failed()
		s.log.bytes += f.logged
		s.log.records += f.records
		s.mu.Unlock()
		return fmt.Errorf("checkpoint %d: %w", s.root.sequence+1, err)
	}
	s.adopt(f, pages, r)
	s.sweep(ctx)
	return nil
}

func (s *Store) freeze(kind checkpointKind) (*frozenState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	if s.closing {
		return nil, ErrClosed // the last one was taken
	}
	if err := s.closeBatch(0); err != nil {
		return nil, err
	}
	s.closing = kind == kindLast
	f := &frozenState{
		tree:    s.tree.Freeze(),
		entries: s.table.freeze(),
		pinned:  s.table.pinned(),
		kind:    kind,
		logged:  s.log.bytes,
		records: s.log.records,
		log: logPosition{
			segment: s.log.seg.id, generation: s.log.seg.generation, salt: s.log.seg.salt,
			offset: s.log.offset, sequence: s.log.sequence, chain: s.log.chain,
		},
	}
	f.quiet = f.log.sequence == s.root.log.sequence && s.headerSequence == s.root.headerSequence
	s.log.bytes, s.log.records = 0, 0
	if g := s.log.seg; g.live == 0 {
		f.entries[g.slot] = entry{} // the root itself introduces it
	}
	return f, nil
}

// writeState does steps 2 to 5.
func (s *Store) writeState(ctx context.Context, f *frozenState) ([]page, root, error) {
	s.syncMu.Lock()
	err := s.commitTo(ctx, f.log.sequence)
	s.syncMu.Unlock()
	if err != nil {
		return nil, root{}, err
	}
	r := root{
		sequence: s.root.sequence + 1, headerSequence: s.headerSequence, session: s.root.session,
		clean: f.kind == kindLast, capacity: s.capacity, log: f.log, generation: s.ring.Load().Newest(),
		anchored: s.rootAnchor(),
	}
	if r.tree, r.level, err = f.tree.Write(&s.mu, func(p []byte) (tree.Ptr, error) { return s.putNode(ctx, f, p) }); err != nil {
		return nil, r, err
	}
	for _, p := range f.tree.Freed() {
		if g := s.segment(p.Segment); g != nil && g.slot < len(f.entries) {
			f.entries[g.slot].live -= int64(p.Length)
		}
	}
	pages, err := s.writePages(ctx, f)
	if err != nil {
		return nil, r, err
	}
	for _, p := range pages {
		r.pages = append(r.pages, p.ptr)
	}
	s.mu.Lock()
	r.nextSegment = s.nextSegment
	s.mu.Unlock()
	if f.kind == kindFirst {
		r.log.offset += uint32(rootCopySize(r))
	}
	return pages, r, s.swapRoot(ctx, r, func(sealed []byte) error { return s.putRootCopy(ctx, f, sealed) })
}

// rootCopySize is what a copy of r takes in a segment, in bytes.
func rootCopySize(r root) int {
	return sectors(seal.RootSize(len(r.encode())))
}

// sectors rounds n bytes up to whole sectors.
func sectors(n int) int { return (n + seal.SectorSize - 1) / seal.SectorSize * seal.SectorSize }

// putRootCopy stores a copy of the root, from which the volume can be recovered
// if its catalog is lost: at the start of the session's log segment, later
// behind the nodes.
func (s *Store) putRootCopy(ctx context.Context, f *frozenState, sealed []byte) error {
	if f.kind != kindFirst {
		if f.quiet && s.nodes.seg == nil {
			return nil // the copy at the start of the log still says it all
		}
		return s.nodes.putRoot(ctx, sealed)
	}
	b := make([]byte, sectors(len(sealed)))
	copy(b, sealed)
	ctx = context.WithoutCancel(ctx)
	if s.headerChanged() { // the preamble has it
		if err := s.host.Sync(ctx, f.log.segment); err != nil {
			return s.failNow(fmt.Errorf("begin the log in segment %d: %w", f.log.segment, err))
		}
	}
	if err := s.host.Append(ctx, f.log.segment, seal.PreambleSize, b); err != nil {
		return s.failNow(fmt.Errorf("begin the log in segment %d: %w", f.log.segment, err))
	}
	if err := s.host.Sync(ctx, f.log.segment); err != nil {
		return s.failNow(fmt.Errorf("begin the log in segment %d: %w", f.log.segment, err))
	}
	return nil
}

// putNode writes one node and counts it, in the state being written and in the
// present one.
func (s *Store) putNode(ctx context.Context, f *frozenState, p []byte) (tree.Ptr, error) {
	g, ptr, err := s.nodes.put(ctx, seal.FrameNode, p)
	if err != nil {
		return ptr, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addLive(g, int64(ptr.Length))
	f.include(g)
	f.entries[g.slot].live += int64(ptr.Length)
	return ptr, nil
}

// include makes sure that g, made after the freeze, has its entry.
func (f *frozenState) include(g *segment) {
	for len(f.entries) <= g.slot {
		f.entries = append(f.entries, entry{})
	}
	if f.entries[g.slot].id == 0 {
		f.entries[g.slot] = entry{id: g.id, kind: g.kind, generation: g.generation, salt: g.salt}
	}
}

// writePages writes the pages of the table that changed. A page may be the
// first thing in a new segment, which then has to be in a page.
func (s *Store) writePages(ctx context.Context, f *frozenState) ([]page, error) {
	old := s.stayingPages()
	pages := make([]page, 0, len(f.entries)/pageSegments+1)
	for i := 0; i*pageSegments < len(f.entries); i++ {
		plain := encodePage(f.entries[i*pageSegments : min((i+1)*pageSegments, len(f.entries))])
		if i < len(old) && bytes.Equal(old[i].plain, plain) {
			pages = append(pages, old[i])
			continue
		}
		g, ptr, err := s.nodes.put(ctx, seal.FrameTable, plain)
		if err != nil {
			return nil, err
		}
		pages = append(pages, page{pagePtr{g.id, ptr.Offset, ptr.Length, g.generation, g.salt}, plain})
	}
	return pages, nil
}

// stayingPages returns the written pages; those that must not stay where they
// are have no content.
func (s *Store) stayingPages() []page {
	s.mu.Lock()
	defer s.mu.Unlock()
	pages := slices.Clone(s.table.pages)
	for i, p := range pages {
		g := s.table.byID[p.ptr.segment]
		if g == nil || g.moving || g.generation != s.ring.Load().Newest() {
			pages[i].plain = nil
		}
	}
	return pages
}

// swapRoot seals r, lets put store the copy, makes everything durable and
// replaces the root.
func (s *Store) swapRoot(ctx context.Context, r root, put func(sealed []byte) error) error {
	vk := (*s.ring.Load())[r.generation]
	sealed, err := seal.SealRoot(vk, s.volume, r.generation, r.sequence, r.encode())
	if err != nil {
		return err
	}
	if err := put(sealed); err != nil {
		return err
	}
	s.nodes.endSector()
	if err := s.nodes.flush(ctx); err != nil {
		return err
	}
	if err := s.nodes.sync(ctx); err != nil {
		return err
	}
	v, err := s.host.Swap(context.WithoutCancel(ctx), recordRoot, s.rootVersion, sealed)
	if err != nil {
		return s.failNow(fmt.Errorf("swap root: %w", err))
	}
	s.rootVersion = v
	s.rootHash = sha256.Sum256(sealed)
	return nil
}

// adopt makes the written state the one that recovery starts from, and dooms
// the segments that it made superfluous.
func (s *Store) adopt(f *frozenState, pages []page, r root) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range f.tree.Freed() {
		if g := s.table.byID[p.Segment]; g != nil {
			s.addLive(g, -int64(p.Length))
		}
	}
	f.tree.Done()
	s.table.pages = pages
	s.root, s.anchor.root = r, s.rootHash
	if f.kind == kindFirst {
		s.log.offset = r.log.offset
	}
	s.tick++
	for _, g := range s.table.byID {
		// What was pinned may be named, and dropped again, by the log behind r.
		if s.superfluous(g) && !f.pinned[g] && (g.slot >= len(f.entries) || f.entries[g.slot].id != g.id || f.entries[g.slot].live == 0) {
			g.doomed = true
			s.graves = append(s.graves, grave{g, s.tick})
		}
	}
}

// superfluous reports whether neither the present state nor the root needs g.
// Callers hold mu.
func (s *Store) superfluous(g *segment) bool {
	if g.doomed || g.live != 0 || g.pins != 0 || g == s.log.seg || g == s.nodes.seg || s.table.holdsPage(g.id) {
		return false
	}
	return g.kind == seal.KindNode || g.id < s.root.log.segment
}

// grave is a doomed segment, and the tick from which on no new View sees it.
type grave struct {
	seg  *segment
	tick uint64
}

// sweep deletes the doomed segments that no View can still see. A failure is
// left to a later sweep. Callers hold ckptMu.
func (s *Store) sweep(ctx context.Context) {
	s.mu.Lock()
	oldest := s.oldestView()
	var due, rest []grave
	for _, v := range s.graves {
		if v.tick <= oldest {
			due = append(due, v)
		} else {
			rest = append(rest, v)
		}
	}
	s.graves = rest
	s.mu.Unlock()
	for _, v := range due {
		err := s.host.Delete(ctx, v.seg.id)
		s.mu.Lock()
		if err == nil || isNotFound(err) {
			s.table.remove(v.seg)
			s.deleted++
		} else {
			s.graves = append(s.graves, v)
		}
		s.mu.Unlock()
		if !isNotFound(err) {
			s.warn(ctx, fmt.Sprintf("delete segment %d", v.seg.id), err)
		}
	}
}

// segment returns a segment of the table, nil if there is none.
func (s *Store) segment(id host.SegmentID) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.byID[id]
}

// addLive changes what is in use of g. Callers hold mu.
func (s *Store) addLive(g *segment, n int64) {
	g.live += n
	s.live += n
}

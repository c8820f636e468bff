package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/tree"
)

// MaxDamageListed is how many damaged frames a Report lists; more are only
// counted.
const MaxDamageListed = 1000

// Part says what a frame is for.
type Part string

// What a frame can be.
const (
	PartPage Part = "page of the segment table"
	PartNode Part = "tree node"
	PartData Part = "data frame"
)

// Damage is a frame that is missing or is not what was written.
type Damage struct {
	Part    Part
	Key     Key // the item whose bytes it holds, or the first one behind the node
	Segment host.SegmentID
	Offset  uint32
	Length  uint32 // sealed
	Err     error
}

func (d Damage) String() string {
	return fmt.Sprintf("%s of %d bytes at segment %d, offset %d", d.Part, d.Length, d.Segment, d.Offset)
}

// Miscount is a segment whose accounting is wrong.
type Miscount struct {
	Segment  host.SegmentID
	Recorded int64 // bytes in use, as the volume has it
	Counted  int64 // as a recount gives it
}

func (m Miscount) String() string {
	return fmt.Sprintf("segment %d has %d bytes in use and %d on record", m.Segment, m.Counted, m.Recorded)
}

// Report is what Check saw. A frame that extents share may count more than
// once.
type Report struct {
	Sequence   uint64 // of the root that was checked
	Segments   int
	Pages      int64
	Nodes      int64
	Items      int64
	Extents    int64
	Frames     int64 // of data
	Bytes      int64 // sealed bytes of pages, nodes and frames
	TotalBytes int64 // about what Bytes will be at the end
	Damaged    int64
	Damage     []Damage   // the first MaxDamageListed
	Miscounts  []Miscount // empty if a node is damaged: then nothing can be recounted
}

// Check reads and verifies every frame that the present state refers to, and
// recounts what is in use of every segment. Damage does not stop it: it returns
// the Report of everything with an error that wraps ErrDamaged, or
// ErrAccounting. progress, which may be nil, is called now and then with the
// Report so far. Changes and checkpoints go on meanwhile.
func (s *Store) Check(ctx context.Context, progress func(Report)) (Report, error) {
	st, err := s.stateToCheck(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("check: %w", err)
	}
	defer s.endView(st.tick)
	c := &checker{s: s, ctx: ctx, state: st, counted: map[host.SegmentID]int64{}, progress: progress}
	c.report = Report{Sequence: st.root.sequence, Segments: len(st.recorded), TotalBytes: st.totalBytes()}
	if err := c.run(); err != nil {
		return c.report, fmt.Errorf("check: %w", err)
	}
	return c.report, c.report.err()
}

func (r Report) err() error {
	switch {
	case r.Damaged > 0:
		return fmt.Errorf("check: %d damaged of %d frames, the first: %v: %w", r.Damaged, r.Pages+r.Nodes+r.Frames, r.Damage[0], ErrDamaged)
	case len(r.Miscounts) > 0:
		return fmt.Errorf("check: %d segments are counted wrong, the first: %v: %w", len(r.Miscounts), r.Miscounts[0], ErrAccounting)
	}
	return nil
}

// checkedState is a state that stays as it is, with its accounting.
type checkedState struct {
	root     root
	pages    []page
	view     *tree.View
	freed    []tree.Ptr // nodes on record that the view does not reach
	recorded map[host.SegmentID]int64
	tick     uint64 // of the View that keeps its segments
}

func (st *checkedState) totalBytes() (n int64) {
	for _, live := range st.recorded {
		n += live
	}
	return n
}

// stateToCheck returns the state of a new checkpoint, whose table goes with its
// tree. A volume opened read-only does not change, so its present state does.
func (s *Store) stateToCheck(ctx context.Context) (*checkedState, error) {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	if s.host != nil { // and nothing is reaped before the View is there
		if err := s.checkpointLocked(ctx, kindUsual); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	st := &checkedState{root: s.root, pages: s.table.pages, recorded: map[host.SegmentID]int64{}}
	if s.host == nil {
		st.view, st.freed = s.tree.View(ctx), s.tree.Freed()
		for _, g := range s.table.byID {
			st.recorded[g.id] = g.live
		}
	} else if err := s.lastCheckpoint(ctx, st); err != nil {
		return nil, err
	}
	st.tick = s.tick
	s.views[st.tick]++
	return st, nil
}

// lastCheckpoint fills st from the last root. Callers hold mu.
func (s *Store) lastCheckpoint(ctx context.Context, st *checkedState) error {
	t, err := tree.Open(s.loadNode, 0, s.root.tree, s.root.level)
	if err != nil {
		return err
	}
	st.view = t.View(ctx)
	for _, p := range st.pages {
		es, err := parsePage(p.plain)
		if err != nil {
			return err
		}
		for _, e := range es {
			if e.id != 0 {
				st.recorded[e.id] = e.live
			}
		}
	}
	return nil
}

// checker is one run of Check. It is used by one goroutine.
type checker struct {
	s        *Store
	ctx      context.Context
	state    *checkedState
	counted  map[host.SegmentID]int64
	pending  []pendingFrame
	bytes    int  // sealed, of pending
	hidden   bool // a node is damaged, so that not all is counted
	report   Report
	progress func(Report)
}

// pendingFrame is a data frame to be verified.
type pendingFrame struct {
	key    Key
	extent Extent
}

func (c *checker) run() error {
	if err := c.checkPages(); err != nil {
		return err
	}
	if err := c.state.view.Walk(c.ctx, c.s.loadNode, tree.Visitor{Node: c.node, Item: c.item}); err != nil {
		return err
	}
	if err := c.verifyPending(); err != nil {
		return err
	}
	if !c.hidden {
		c.recount()
	}
	return nil
}

// checkPages verifies the pages, which must be what the table in memory came
// from.
func (c *checker) checkPages() error {
	for _, p := range c.state.pages {
		plain, err := c.s.readPage(c.ctx, p.ptr)
		if err == nil && !bytes.Equal(plain, p.plain) {
			err = fmt.Errorf("other content than was written: %w", ErrDamaged)
		}
		c.report.Pages++
		c.report.Bytes += int64(p.ptr.length)
		d := Damage{Part: PartPage, Segment: p.ptr.segment, Offset: p.ptr.offset, Length: p.ptr.length}
		if err := c.found(d, err); err != nil {
			return err
		}
	}
	return nil
}

// node takes note of a node that was visited.
func (c *checker) node(p tree.Place, err error) error {
	c.report.Nodes++
	c.report.Bytes += int64(p.Ptr.Length)
	c.counted[p.Ptr.Segment] += int64(p.Ptr.Length)
	c.hidden = c.hidden || err != nil
	d := Damage{Part: PartNode, Key: p.Key, Segment: p.Ptr.Segment, Offset: p.Ptr.Offset, Length: p.Ptr.Length}
	return c.found(d, asDamage(err))
}

// item counts an item, and sets its frame aside if it has one.
func (c *checker) item(k Key, value []byte) error {
	c.report.Items++
	if k.Type != TypeExtent {
		return nil
	}
	e, err := ParseExtent(value)
	if err != nil {
		return c.found(Damage{Part: PartData, Key: k}, err)
	}
	c.report.Extents++
	c.counted[e.Segment] += e.occupies()
	if n := len(c.pending); n > 0 && c.pending[n-1].extent.sameFrame(e) {
		return nil
	}
	c.pending = append(c.pending, pendingFrame{k, e})
	c.bytes += int(e.frameEnd() - int64(e.Offset))
	if c.bytes < checkBatch {
		return nil
	}
	return c.verifyPending()
}

// found lists damage and returns every other error.
func (c *checker) found(d Damage, err error) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	c.report.Damaged++
	if len(c.report.Damage) < MaxDamageListed {
		d.Err = err
		c.report.Damage = append(c.report.Damage, d)
	}
	return nil
}

// recount compares what was counted with what is on record.
func (c *checker) recount() {
	for _, p := range c.state.freed {
		c.counted[p.Segment] += int64(p.Length)
	}
	ids := slices.Collect(maps.Keys(c.state.recorded))
	for id := range c.counted {
		if _, ok := c.state.recorded[id]; !ok {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, cmp.Compare)
	for _, id := range ids {
		if c.counted[id] != c.state.recorded[id] {
			c.report.Miscounts = append(c.report.Miscounts, Miscount{id, c.state.recorded[id], c.counted[id]})
		}
	}
}

package store

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/tree"
)

var rootMagic, headerMagic = []byte("coffroot"), []byte("coffhead")

// findRoots looks for roots where one can be: in the record, at the start of
// log segments, and at any sector of node segments, where copies of headers
// are too.
func (w *wreck) findRoots() error {
	w.root(w.record(recordRoot), 0, 0)
	for _, i := range w.listed {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		size := int64(seal.PreambleSize + seal.SectorSize)
		if g := w.claims[i.ID]; g == nil || g.kind != seal.KindLog {
			size = int64(1) << w.newest().SegmentShift
		}
		w.scan(i.ID, size)
	}
	return nil
}

// scan looks at every sector of a segment, up to size.
func (w *wreck) scan(id host.SegmentID, size int64) {
	buf := takeReadBuffer(maxHostRead)
	defer giveReadBuffer(buf)
	window := (*buf)[:maxHostRead]
	for off := int64(seal.PreambleSize); off < size; off += maxHostRead {
		n := min(int64(len(window)), size-off)
		got := w.readSome(id, off, window[:n])
		for at := 0; at+len(rootMagic) <= got; at += seal.SectorSize {
			switch {
			case bytes.HasPrefix(window[at:], rootMagic):
				w.copyAt(id, off+int64(at), seal.MaxRootSize, func(b []byte) { w.root(b, id, off+int64(at)) })
			case bytes.HasPrefix(window[at:], headerMagic):
				w.copyAt(id, off+int64(at), seal.MaxHeaderSize, w.headerCopy)
			}
		}
		if got < int(n) && !w.hole(id, off, got) {
			return
		}
	}
}

// hole reports whether a segment goes on behind what could not be read: a disk
// gives no part of a read that has a bad sector in it.
func (w *wreck) hole(id host.SegmentID, off int64, got int) bool {
	return w.readSome(id, off+maxHostRead, make([]byte, 1)) == 1
}

// copyAt reads what may be a copy of something of at most size bytes.
func (w *wreck) copyAt(id host.SegmentID, off int64, size int, fn func([]byte)) {
	b := make([]byte, size)
	fn(b[:w.readSome(id, off, b)])
}

// headerCopy takes up a header that stands behind a checkpoint, with zeros
// behind it.
func (w *wreck) headerCopy(b []byte) {
	n := seal.HeaderSize(b)
	if n == 0 || n > len(b) {
		return
	}
	h, err := seal.ParseHeader(b[:n])
	if err != nil || h.Volume != w.volume || len(w.headers) >= maxHeadersFound {
		return
	}
	for _, have := range w.headers {
		if have.Sequence == h.Sequence {
			return
		}
	}
	if w.unlock(h) == nil {
		_ = w.oneVolume() // it is of this one
	}
}

// root takes note of a root, if it opens.
func (w *wreck) root(b []byte, id host.SegmentID, off int64) {
	info, err := seal.ParseRoot(b)
	if err != nil || info.Volume != w.volume {
		return
	}
	vk, ok := w.ring[info.Generation]
	if !ok {
		w.locked = max(w.locked, info.Sequence)
		return
	}
	p, err := info.Open(vk)
	if err != nil {
		return
	}
	r, err := parseRoot(p)
	if err != nil || r.sequence != info.Sequence {
		return
	}
	r.generation = info.Generation
	sealed := b[:info.Size()]
	if slices.ContainsFunc(w.roots, func(o foundRoot) bool { return bytes.Equal(o.sealed, sealed) }) {
		return
	}
	w.roots = append(w.roots, foundRoot{r, bytes.Clone(sealed), id, off})
	slices.SortStableFunc(w.roots, func(a, b foundRoot) int {
		return cmp.Or(cmp.Compare(b.sequence, a.sequence), cmp.Compare(b.session, a.session))
	})
	w.roots = w.roots[:min(len(w.roots), maxRootsFound)]
}

// candidate is a root that was tried.
type candidate struct {
	foundRoot
	store   *Store
	batches []found // of the log behind it
	logLost error   // why it is not known how far that goes
	broken  error   // why the volume can't be opened with it
	nodes   int64
	damaged int64      // of nodes of the present state
	first   error      // of damaged
	kept    keptDamage // of nodes that snapshots alone need
}

// whole reports whether everything but data can be read of the present state.
func (c *candidate) whole() bool { return c.broken == nil && c.damaged == 0 }

// try opens the volume with a root, as far as that goes, and reads every node.
func (w *wreck) try(r foundRoot) (*candidate, error) {
	s, err := w.store()
	if err != nil {
		return nil, err
	}
	c := &candidate{foundRoot: r, store: s}
	c.broken = s.useRoot(w.ctx, r.root)
	if !r.clean { // of a root that is not whole too
		c.batches, c.logLost = s.followLog(w.ctx)
		c.broken = cmp.Or(c.broken, c.logLost)
	}
	if c.broken != nil {
		return c, w.ctx.Err()
	}
	return c, s.tree.View(w.ctx).Walk(w.ctx, s.loadNode, tree.Visitor{
		Node: func(p tree.Place, err error) error {
			if isOver(err) {
				return err
			}
			switch c.nodes++; {
			case err == nil:
			case p.Key.Less(usersEnd):
				c.damaged++
				c.first = cmp.Or(c.first, err)
			default:
				c.kept.add(p)
			}
			return nil
		},
		Item: func(Key, []byte) error { return nil },
	})
}

// leadsTo reports whether the state that c leads to holds all that the newer
// root o stands for: its log passes the place at which o was made.
func (c *candidate) leadsTo(o root) bool {
	if c.log.sequence == o.log.sequence {
		return c.log.chain == o.log.chain
	}
	return slices.ContainsFunc(c.batches, func(b found) bool {
		return b.header.sequence == o.log.sequence && b.header.chain() == o.log.chain
	})
}

// standsInFor reports whether c leads to the very state that the newest root leads to,
// or beyond: to the last batch of its log, if it has any, and not only to where it was
// made. A session's first root has a log of its own, to which no older root leads.
func (c *candidate) standsInFor(newest *candidate) bool {
	if newest.logLost != nil {
		return false // batches of it may be lost
	}
	end := newest.root
	if n := len(newest.batches); n > 0 {
		last := newest.batches[n-1].header
		end.log.sequence, end.log.chain = last.sequence, last.chain()
	}
	return c.leadsTo(end)
}

// maxTried bounds how many roots are tried.
const maxTried = 16

// choose finds the root to open the volume with: the newest one; or, if that was
// not complete, as when the machine died while it was being made, the newest
// whole one that leads to the same state, so that nothing is lost by it. One of which
// snapshots have lost nothing goes before one of which they have. ErrDamaged, with what
// was tried, if there is none.
func (w *wreck) choose() (best *candidate, tried []*candidate, err error) {
	for _, r := range w.roots[:min(len(w.roots), maxTried)] {
		c, err := w.try(r)
		if err != nil {
			return nil, tried, err
		}
		tried = append(tried, c)
		if !c.whole() || !c.standsInFor(tried[0]) {
			continue
		}
		if best == nil || c.kept.nodes < best.kept.nodes {
			best = c
		}
		if best.kept.nodes == 0 {
			break
		}
	}
	if best != nil {
		return best, tried, nil
	}
	if len(w.roots) == 0 {
		return nil, nil, fmt.Errorf("no root is left that this key opens: %w", ErrDamaged)
	}
	return nil, tried, fmt.Errorf("root %d is the newest: %w", w.roots[0].sequence, tried[0].problem())
}

// problem says what is wrong with a root that is not whole.
func (c *candidate) problem() error {
	if c.broken != nil {
		return asDamage(c.broken)
	}
	return asDamage(fmt.Errorf("%d of %d tree nodes are damaged, the first: %w", c.damaged, c.nodes, c.first))
}

package fs

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// pending is what one file adds to a flush.
type pending struct {
	file   *file
	news   []mapped // sealed, in order
	inline []byte   // instead of extents, nil if not
	blocks []int64  // that are being flushed
	edits  uint64   // of the file when they were sealed
}

// current reports whether what was sealed is still what is buffered. Callers hold the
// file's mu.
func (p *pending) current() bool {
	return p.edits == p.file.edits && len(p.blocks) == len(p.file.blocks)
}

// group brings what is buffered of some files to the volume in one Update, so
// that no crash finds one part without the other.
type group struct {
	tree  *Tree
	flush *store.Flush
	files []*pending
}

// flush brings everything buffered to the volume.
func (f *Tree) flush(ctx context.Context) error {
	if f.stale.Load() == 0 {
		return nil
	}
	return f.flushAll(ctx, nil)
}

// lockFlushed flushes, and returns with h loaded, h.mu held, and nothing of h
// buffered. So what the caller then brings to the volume comes after all that
// was buffered before.
func (f *Tree) lockFlushed(ctx context.Context, h *file) error {
	if err := f.flush(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	if h.changed() { // written meanwhile: after other writes, maybe
		h.mu.Unlock()
		if err := f.flushAll(ctx, h); err != nil {
			return err
		}
	}
	err := f.load(ctx, h)
	if err == nil {
		err = f.finishTrim(ctx, h)
	}
	if err != nil {
		h.mu.Unlock()
	}
	return err
}

// maxYields is how often a flush lets go of all files to wait for the host, before it
// holds on to them: what it waited for may have been taken from it again.
const maxYields = 4

// flushAll brings everything buffered to the volume. It leaves keep locked, if there
// is one, unless it fails.
func (f *Tree) flushAll(ctx context.Context, keep *file) error {
	fl := f.newFlush()
	defer fl.Close()
	g := &group{tree: f, flush: fl}
	for yields := 0; ; yields++ {
		wait, err := f.flushHeld(ctx, g, keep, yields < maxYields)
		if wait == nil {
			return err
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

// flushHeld is one attempt of flushAll, and the only one to lock several files. With
// yield it does not wait for the host while it holds them, but returns what must be
// waited for; keep is then not locked. Batches that wait to be appended are the
// exception: whoever writes faster than the host has to be held up.
func (f *Tree) flushHeld(ctx context.Context, g *group, keep *file, yield bool) (wait func(context.Context) error, err error) {
	f.flushMu.Lock()
	defer f.flushMu.Unlock()
	held := f.holdChanged(keep)
	for _, h := range held {
		h.mu.Lock()
	}
	update := f.st.TryUpdateReserved
	if !yield {
		update = f.waitingUpdate(ctx)
	}
	wait, err = g.flushFiles(ctx, held, update)
	for _, h := range held {
		if h != keep || err != nil || wait != nil {
			h.mu.Unlock()
		}
	}
	for _, h := range held {
		f.drop(ctx, h)
	}
	return wait, err
}

// updater brings a flush to the volume, or returns what must be waited for first.
type updater func(func(*store.Tx) error) (wait func(context.Context) error, err error)

// waitingUpdate waits itself.
func (f *Tree) waitingUpdate(ctx context.Context) updater {
	return func(fn func(*store.Tx) error) (func(context.Context) error, error) {
		return nil, f.st.UpdateReserved(ctx, fn)
	}
}

// frameBytes is how much of a stream one frame holds. Larger ones are not sealed or
// read in order any faster, and whoever reads 4 KiB of one must fetch and open all
// of it.
const frameBytes = 16 << 10

func (f *Tree) newFlush() *store.Flush {
	fl := f.st.NewFlush()
	fl.FrameBytes = frameBytes
	return fl
}

// flushFiles brings what is buffered of some files to the volume. They are
// locked. What an earlier attempt sealed and nobody changed is not sealed again.
func (g *group) flushFiles(ctx context.Context, files []*file, update updater) (wait func(context.Context) error, err error) {
	earlier := g.files
	g.files = nil
	for _, h := range files {
		if h.gone || !h.changed() {
			continue
		}
		var p *pending
		if i := slices.IndexFunc(earlier, func(p *pending) bool { return p.file == h && p.current() }); i >= 0 {
			p = earlier[i]
		} else {
			p = &pending{file: h, edits: h.edits}
			if err := g.seal(ctx, p, 0, 0); err != nil {
				return nil, err
			}
		}
		g.files = append(g.files, p)
	}
	return g.run(update)
}

// holdChanged holds every file that has something to flush, and keep, in the
// order of inode numbers.
func (f *Tree) holdChanged(keep *file) []*file {
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	held := slices.Collect(maps.Keys(f.changed))
	if keep != nil && !f.changed[keep] {
		held = append(held, keep)
	}
	slices.SortFunc(held, func(a, b *file) int { return cmp.Compare(a.ino, b.ino) })
	for _, h := range held {
		h.refs++
	}
	return held
}

// seal seals the buffered blocks of one file, neighbours together. Those with
// indices from skip on, before to, were sealed otherwise.
func (g *group) seal(ctx context.Context, p *pending, skip, to int64) error {
	h := p.file
	p.blocks = slices.Sorted(maps.Keys(h.blocks))
	if len(p.blocks) == 0 {
		return nil
	}
	if h.size <= InlineMax {
		p.inline = make([]byte, h.size)
		copy(p.inline, h.blocks[0])
		return nil
	}
	rest := slices.DeleteFunc(slices.Clone(p.blocks), func(i int64) bool { return i >= skip && i < to })
	for len(rest) > 0 {
		n := 1
		for n < len(rest) && rest[n] == rest[0]+int64(n) {
			n++
		}
		if err := g.sealRun(ctx, p, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	slices.SortFunc(p.news, func(a, b mapped) int { return cmp.Compare(a.at, b.at) })
	return nil
}

// sealRun seals neighbouring blocks, up to the end of the file.
func (g *group) sealRun(ctx context.Context, p *pending, run []int64) error {
	h := p.file
	at := run[0] * BlockSize
	size := min(int64(len(run))*BlockSize, h.size-at)
	buf := make([]byte, 0, len(run)*BlockSize)
	for _, i := range run {
		buf = append(buf, h.blocks[i]...)
	}
	sealed, err := g.flush.Seal(ctx, uint64(h.ino), uint64(at), buf[:size])
	p.news = append(p.news, mapSealed(at, sealed)...)
	return err
}

// run makes the Update and forgets what was buffered. The files are locked.
func (g *group) run(update updater) (wait func(context.Context) error, err error) {
	if len(g.files) == 0 {
		return nil, nil
	}
	wait, err = update(func(tx *store.Tx) error {
		for _, p := range g.files {
			if err := p.apply(tx); err != nil && err != syscall.ENOENT {
				return err
			}
		}
		return nil
	})
	if wait != nil || err != nil {
		return wait, err
	}
	g.tree.settled.Add(1)
	for _, p := range g.files {
		g.done(p)
	}
	return nil, nil
}

// apply records what the file became.
func (p *pending) apply(tx *store.Tx) error {
	h := p.file
	n, err := getInode(tx, h.ino)
	if err != nil {
		return err
	}
	if err := p.applyData(tx, &n); err != nil {
		return err
	}
	n.size = h.size
	if h.mtime != 0 {
		n.mtime = h.mtime
		n.ctime = max(n.ctime, h.mtime)
	}
	if h.atime != 0 {
		n.atime = h.atime
	}
	if h.ctime != 0 {
		n.ctime = h.ctime
	}
	return putInode(tx, h.ino, n)
}

func (p *pending) applyData(tx *store.Tx, n *inode) error {
	h := p.file
	if p.inline != nil {
		if _, err := replace(tx, h.ino, 0, endOfFile, nil); err != nil {
			return err
		}
		n.bytes = int64(len(p.inline))
		n.flags |= flagInline
		return putInline(tx, h.ino, p.inline)
	}
	if len(p.news) == 0 {
		return nil
	}
	if n.flags&flagInline != 0 {
		n.flags &^= flagInline
		n.bytes = 0
		if err := tx.Delete(inlineKey(h.ino, 0)); err != nil {
			return err
		}
	}
	for news := p.news; len(news) > 0; {
		c := 1
		for c < len(news) && news[c].at == news[c-1].end() {
			c++
		}
		grown, err := replace(tx, h.ino, news[0].at, news[c-1].end(), news[:c])
		if err != nil {
			return err
		}
		n.bytes += grown
		news = news[c:]
	}
	return nil
}

// done forgets what is in the volume now.
func (g *group) done(p *pending) {
	h := p.file
	if p.inline != nil {
		h.inline = true
	}
	h.mtime, h.atime, h.ctime = 0, 0, 0
	g.tree.dropBlocks(h, p.blocks)
}

package fs

import (
	"context"
	"slices"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

const (
	errInval = syscall.EINVAL
	errStale = syscall.ESTALE
)

const (
	// directBytes is from what size on a write goes to the volume at once,
	// rather than into a buffer first.
	directBytes = 32 << 10
	// maxWrite is the most one operation writes, in bytes.
	maxWrite = 16 << 20
)

// writeAt writes p at off; at the end of the file if end is set. It returns the
// offset behind what was written.
func (f *Tree) writeAt(ctx context.Context, h *file, p []byte, off int64, end bool) (n int, after int64, err error) {
	if f.options.ReadOnly {
		return 0, off, syscall.EROFS
	}
	if off < 0 {
		return 0, off, errInval
	}
	for first := true; first || len(p) > 0; first = false {
		part := p[:min(len(p), maxWrite)]
		after, err = f.writePart(ctx, h, part, off, end)
		if err != nil {
			return n, off, wrap(err)
		}
		n += len(part)
		p, off = p[len(part):], after
	}
	return n, off, nil
}

// writePart writes as one operation.
func (f *Tree) writePart(ctx context.Context, h *file, p []byte, off int64, end bool) (after int64, err error) {
	buffered := min(len(p), directBytes)
	if err := f.admit(ctx, writeCost(buffered)); err != nil {
		return off, err
	}
	defer f.admitted(writeCost(buffered))
	// Everything written earlier comes before this, if this goes straight to
	// the volume.
	lock := f.lockLoaded
	if len(p) >= directBytes {
		lock = f.lockFlushed
	}
	if err := lock(ctx, h); err != nil {
		return off, err
	}
	defer h.mu.Unlock()
	if end {
		off = h.size
	}
	if off > MaxFileSize-int64(len(p)) {
		return off, syscall.EFBIG
	}
	if len(p) == 0 {
		return off, nil
	}
	return off + int64(len(p)), f.writeLocked(ctx, h, p, off)
}

// lockLoaded returns with h loaded and h.mu held.
func (f *Tree) lockLoaded(ctx context.Context, h *file) error {
	h.mu.Lock()
	err := f.load(ctx, h)
	if err == nil {
		err = f.finishTrim(ctx, h)
	}
	if err != nil {
		h.mu.Unlock()
	}
	return err
}

func (f *Tree) writeLocked(ctx context.Context, h *file, p []byte, off int64) error {
	if err := f.takeInline(ctx, h); err != nil {
		return err
	}
	h.edits++
	if len(p) >= directBytes {
		return f.writeDirect(ctx, h, p, off)
	}
	return f.writeBuffered(ctx, h, p, off)
}

// takeInline buffers the block that an inline file consists of, so that from
// here on it is a file like any other. Callers hold h.mu.
func (f *Tree) takeInline(ctx context.Context, h *file) error {
	if !h.inline {
		return nil
	}
	if _, err := f.block(ctx, h, 0, true); err != nil {
		return err
	}
	h.inline = false
	return nil
}

// writeBuffered copies p into buffered blocks. Callers hold h.mu.
func (f *Tree) writeBuffered(ctx context.Context, h *file, p []byte, off int64) error {
	if err := f.takeBlocks(ctx, h, off, off+int64(len(p))); err != nil {
		return err
	}
	for len(p) > 0 {
		n := copy(h.blocks[off/BlockSize][off%BlockSize:], p)
		p, off = p[n:], off+int64(n)
	}
	h.size = max(h.size, off)
	h.touch()
	f.note(h)
	return nil
}

// takeBlocks buffers the blocks of [from, to), those that will be overwritten
// whole with anything in them: all of them, or none. Callers hold h.mu.
func (f *Tree) takeBlocks(ctx context.Context, h *file, from, to int64) error {
	var taken []int64
	for i := from / BlockSize; i*BlockSize < to; i++ {
		if h.blocks[i] != nil {
			continue
		}
		covered := from <= i*BlockSize && to >= min((i+1)*BlockSize, max(h.size, to))
		if _, err := f.block(ctx, h, i, !covered); err != nil {
			f.dropBlocks(h, taken)
			return err
		}
		taken = append(taken, i)
	}
	return nil
}

// block returns a buffered block, reading it if it is new and its old contents
// matter. ErrFull. Callers hold h.mu.
func (f *Tree) block(ctx context.Context, h *file, i int64, read bool) ([]byte, error) {
	if b := h.blocks[i]; b != nil {
		return b, nil
	}
	if err := f.reserve(ctx, BlockSize); err != nil {
		return nil, err
	}
	b := takeBlock()
	if read && i*BlockSize < h.size {
		if _, err := f.readStored(ctx, h, b, i*BlockSize); err != nil {
			f.st.Unreserve(BlockSize)
			giveBlock(b)
			return nil, err
		}
	}
	f.putBlock(h, i, b)
	return b, nil
}

// putBlock buffers a block whose room is reserved.
func (f *Tree) putBlock(h *file, i int64, b []byte) {
	if h.blocks == nil {
		h.blocks = map[int64][]byte{}
	}
	h.blocks[i] = b
	f.dirty.Add(1)
	f.note(h)
}

// dropBlocks forgets buffered blocks. Callers hold h.mu.
func (f *Tree) dropBlocks(h *file, indices []int64) {
	defer f.note(h)
	for _, i := range indices {
		giveBlock(h.blocks[i])
		delete(h.blocks, i)
		f.dirty.Add(-1)
		f.st.Unreserve(BlockSize)
	}
}

// writeDirect seals p at once, together with what else is in its first and last
// block, and records it as one operation. Callers hold h.mu.
func (f *Tree) writeDirect(ctx context.Context, h *file, p []byte, off int64) error {
	from := off / BlockSize * BlockSize
	end := off + int64(len(p))
	to := min((end+BlockSize-1)/BlockSize*BlockSize, max(h.size, end))
	if err := f.reserve(ctx, to-from); err != nil {
		return err
	}
	defer f.st.Unreserve(to - from)
	whole := p
	if from != off || to != end {
		var err error
		if whole, err = f.surround(ctx, h, p, off, from, to); err != nil {
			return err
		}
	}
	fl := f.newFlush()
	defer fl.Close()
	sealed, err := fl.Seal(ctx, uint64(h.ino), uint64(from), whole)
	if err != nil {
		return err
	}
	// What was inline goes along.
	g := &group{tree: f, flush: fl, files: []*pending{{file: h, news: mapSealed(from, sealed)}}}
	return g.grow(ctx, end, from/BlockSize, (to+BlockSize-1)/BlockSize)
}

// grow brings the group's one file, of which the blocks from skip on, before to,
// are sealed, to the volume with a size of at least end.
func (g *group) grow(ctx context.Context, end, skip, to int64) error {
	h := g.files[0].file
	size, mtime, ctime := h.size, h.mtime, h.ctime
	h.size = max(h.size, end)
	h.touch()
	err := g.seal(ctx, g.files[0], skip, to)
	if err == nil {
		_, err = g.run(g.tree.waitingUpdate(ctx))
	}
	if err != nil {
		h.size, h.mtime, h.ctime = size, mtime, ctime
	}
	return err
}

// mapSealed puts sealed extents one behind the other from offset at on.
func mapSealed(at int64, sealed []store.Extent) []mapped {
	out := make([]mapped, len(sealed))
	for i, e := range sealed {
		out[i] = mapped{at, e}
		at += int64(e.Count)
	}
	return out
}

// surround returns [from, to) of the file with p at off.
func (f *Tree) surround(ctx context.Context, h *file, p []byte, off, from, to int64) ([]byte, error) {
	whole := make([]byte, to-from)
	for _, at := range slices.Compact([]int64{from, (to - 1) / BlockSize * BlockSize}) {
		b := whole[at-from : min(at-from+BlockSize, to-from)]
		if old := h.blocks[at/BlockSize]; old != nil {
			copy(b, old)
		} else if at < h.size {
			if _, err := f.readStored(ctx, h, b, at); err != nil {
				return nil, err
			}
		}
	}
	copy(whole[off-from:], p)
	return whole, nil
}

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
		// Everything written earlier comes before this, if this goes
		// straight to the volume; and there must be room in the buffer.
		if len(part) >= directBytes || f.dirty.Load()*BlockSize >= int64(f.options.DirtyBytes) {
			if err := f.flush(ctx); err != nil {
				return n, off, wrap(err)
			}
		}
		off, err = f.writePart(ctx, h, part, off, end)
		if err != nil {
			return n, off, wrap(err)
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, off, nil
}

func (f *Tree) writePart(ctx context.Context, h *file, p []byte, off int64, end bool) (after int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := f.load(ctx, h); err != nil {
		return off, err
	}
	if end {
		off = h.size
	}
	if off > MaxFileSize-int64(len(p)) {
		return off, syscall.EFBIG
	}
	if len(p) == 0 {
		return off, nil
	}
	if err := f.takeInline(ctx, h); err != nil {
		return off, err
	}
	if len(p) >= directBytes {
		err = f.writeDirect(ctx, h, p, off)
	} else {
		err = f.writeBuffered(ctx, h, p, off)
	}
	return off + int64(len(p)), err
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
	// All blocks first: a write that has no room changes nothing.
	for i := off / BlockSize; i*BlockSize < off+int64(len(p)); i++ {
		covered := off <= i*BlockSize && off+int64(len(p)) >= min((i+1)*BlockSize, max(h.size, off+int64(len(p))))
		if _, err := f.block(ctx, h, i, !covered); err != nil {
			return err
		}
	}
	for len(p) > 0 {
		n := copy(h.blocks[off/BlockSize][off%BlockSize:], p)
		p, off = p[n:], off+int64(n)
	}
	h.size = max(h.size, off)
	f.setMtime(h)
	return nil
}

// setMtime marks the file as changed now. Callers hold h.mu.
func (f *Tree) setMtime(h *file) {
	defer f.note(h, h.changed())
	h.mtime = now()
}

// note keeps the set of files that have something to flush; was is what changed
// gave before. Callers hold h.mu.
func (f *Tree) note(h *file, was bool) {
	is := h.changed()
	if is == was {
		return
	}
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	if is {
		f.changed[h] = true
	} else {
		delete(f.changed, h)
	}
	f.stale.Store(int64(len(f.changed)))
}

// block returns a buffered block, reading it if it is new and its old contents
// matter. ErrFull. Callers hold h.mu.
func (f *Tree) block(ctx context.Context, h *file, i int64, read bool) ([]byte, error) {
	if b := h.blocks[i]; b != nil {
		return b, nil
	}
	if err := f.st.Reserve(BlockSize); err != nil {
		return nil, err
	}
	b := takeBlock()
	if read && i*BlockSize < h.size {
		if _, err := f.readStored(ctx, h, b, i*BlockSize); err != nil {
			f.st.Unreserve(BlockSize)
			return nil, err
		}
	}
	f.putBlock(h, i, b)
	return b, nil
}

// putBlock buffers a block whose room is reserved.
func (f *Tree) putBlock(h *file, i int64, b []byte) {
	defer f.note(h, h.changed())
	h.blocks[i] = b
	f.dirty.Add(1)
}

// dropBlocks forgets buffered blocks. Callers hold h.mu.
func (f *Tree) dropBlocks(h *file, indices []int64) {
	defer f.note(h, h.changed())
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
	if err := f.st.Reserve(to - from); err != nil {
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
	fl := f.st.NewFlush()
	defer fl.Close()
	sealed, err := fl.Seal(ctx, uint64(h.ino), uint64(from), whole)
	if err != nil {
		return err
	}
	size, mtime := h.size, h.mtime
	h.size = max(h.size, end)
	f.setMtime(h)
	// What else is buffered of the file goes along: the size covers it.
	g := &group{tree: f, flush: fl, files: []*pending{{file: h, news: place(from, sealed)}}}
	err = g.seal(ctx, g.files[0], from/BlockSize, (to+BlockSize-1)/BlockSize)
	if err == nil {
		err = g.run(ctx)
	}
	if err != nil {
		was := h.changed()
		h.size, h.mtime = size, mtime
		f.note(h, was)
	}
	return err
}

// place puts sealed extents one behind the other from offset at on.
func place(at int64, sealed []store.Extent) []mapped {
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

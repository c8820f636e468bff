package fs

import (
	"context"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// Modes of Allocate, as fallocate has them.
const (
	AllocKeepSize  = 0x01
	AllocPunchHole = 0x02
	AllocZeroRange = 0x10
)

// Values of whence for Seek beyond those of package io.
const (
	SeekData = 3
	SeekHole = 4
)

// allocate does what fallocate does. Room is not set aside: in a volume that
// never overwrites, room for a block that has data already would not help. Later
// writes may therefore give ENOSPC; what is in the way of allocating now does
// too. EOPNOTSUPP for modes that move data.
func (f *Tree) allocate(ctx context.Context, h *file, mode uint32, off, size int64) error {
	switch {
	case f.options.ReadOnly:
		return syscall.EROFS
	case off < 0 || size <= 0:
		return errInval
	case off > MaxFileSize-size:
		return syscall.EFBIG
	}
	keep := mode&AllocKeepSize != 0
	switch mode &^ AllocKeepSize {
	case 0:
		if f.st.Space().Available < size {
			return syscall.ENOSPC
		}
		return f.extend(ctx, h, off+size, keep)
	case AllocPunchHole:
		if !keep {
			return syscall.EOPNOTSUPP
		}
		return f.punch(ctx, h, off, off+size)
	case AllocZeroRange:
		if err := f.punch(ctx, h, off, off+size); err != nil {
			return err
		}
		return f.extend(ctx, h, off+size, keep)
	}
	return syscall.EOPNOTSUPP
}

func (f *Tree) extend(ctx context.Context, h *file, to int64, keep bool) error {
	if keep {
		return nil
	}
	return f.truncate(ctx, h, sizing{size: to, grow: true})
}

// punch makes [from, to) read as zeros: whole blocks become a hole, in as many
// steps as it takes, so that those who read meanwhile may find a part of it. What
// it takes of a block beside is written, so that a block is never in pieces.
func (f *Tree) punch(ctx context.Context, h *file, from, to int64) error {
	cost := writeCost(2 * BlockSize)
	if err := f.admit(ctx, cost); err != nil {
		return wrap(err)
	}
	defer f.admitted(cost)
	if err := f.lockFlushed(ctx, h); err != nil {
		return wrap(err)
	}
	defer h.mu.Unlock()
	to = min(to, h.size)
	if from >= to {
		return nil
	}
	h.edits++
	first, last := (from+BlockSize-1)/BlockSize*BlockSize, to/BlockSize*BlockSize
	if to == h.size {
		last = to
	}
	err := f.takeInline(ctx, h)
	for _, edge := range [][2]int64{{from, min(first, to)}, {max(last, from), to}} {
		if err == nil {
			err = f.zero(ctx, h, edge[0], edge[1])
		}
	}
	if err == nil {
		err = f.dropRange(ctx, h, first, last)
	}
	return wrap(err)
}

// zero zeros [from, to), which lies within one block, if there is anything in
// it. Callers hold h.mu.
func (f *Tree) zero(ctx context.Context, h *file, from, to int64) error {
	if from >= to {
		return nil
	}
	if h.blocks[from/BlockSize] == nil {
		if data, err := f.hasData(ctx, h, from, to); err != nil || !data {
			return err
		}
	}
	b, err := f.block(ctx, h, from/BlockSize, true)
	if err == nil {
		clear(b[from%BlockSize : from%BlockSize+to-from])
	}
	return err
}

// hasData reports whether the volume holds any data in [from, to) of a file that
// is not inline.
func (f *Tree) hasData(ctx context.Context, h *file, from, to int64) (data bool, err error) {
	err = f.view(ctx, func(tx *store.Tx) error {
		return extents(tx, h.ino, from, to, func(mapped) bool {
			data = true
			return false
		})
	})
	return data, err
}

// dropRange makes [from, to) a hole, and brings what else is buffered of the file
// to the volume with the first step. Callers hold h.mu.
func (f *Tree) dropRange(ctx context.Context, h *file, from, to int64) error {
	for i, b := range h.blocks { // one that was inline
		if i*BlockSize >= from && i*BlockSize < to {
			clear(b)
		}
	}
	h.mtime = now()
	f.note(h)
	if err := f.flushOne(ctx, h); err != nil {
		return err
	}
	for more := from < to; more; {
		err := f.st.UpdateFreeing(ctx, func(tx *store.Tx) (err error) {
			more, err = dropExtents(tx, h.ino, from, to)
			return err
		})
		if err != nil {
			return err
		}
		f.settled.Add(1)
	}
	return nil
}

// dropExtents takes as much of [from, to) from a file as one Update can, from the
// start on, and reports whether there is more.
func dropExtents(tx *store.Tx, i Ino, from, to int64) (more bool, err error) {
	n, err := getInode(tx, i)
	if err != nil {
		return false, err
	}
	end, rest, err := extentsEnd(tx, i, from)
	if err != nil {
		return false, err
	}
	grown, err := replace(tx, i, from, min(end, to), nil)
	if err != nil {
		return false, err
	}
	n.bytes += grown
	return rest && end < to, putInode(tx, i, n)
}

// seekData returns the first offset at or behind off where data begins, or a
// hole, as lseek does. ENXIO behind the end of the file.
func (f *Tree) seekData(ctx context.Context, h *file, off int64, hole bool) (int64, error) {
	if err := f.flush(ctx); err != nil {
		return 0, wrap(err)
	}
	if err := f.ensureLoaded(ctx, h); err != nil {
		return 0, wrap(err)
	}
	at := off
	err := f.view(ctx, func(tx *store.Tx) error {
		n, err := getInode(tx, h.ino)
		if err != nil {
			return err
		}
		if off < 0 || off >= n.size {
			return syscall.ENXIO
		}
		end, err := nextBoundary(tx, h.ino, n, off, hole)
		if err == nil && !hole && end >= n.size {
			err = syscall.ENXIO
		}
		at = min(end, n.size)
		return err
	})
	return at, wrap(err)
}

// nextBoundary returns where the next data, or the next hole, begins at or
// behind off; the size of the file if there is none.
func nextBoundary(tx *store.Tx, i Ino, n inode, off int64, hole bool) (int64, error) {
	if n.flags&flagInline != 0 {
		if n.bytes > off == !hole {
			return off, nil
		}
		if hole {
			return n.bytes, nil
		}
		return n.size, nil
	}
	at := off
	found := false
	err := extents(tx, i, off, n.size, func(m mapped) bool {
		if !hole {
			at, found = max(off, m.at), true
			return false
		}
		if m.at > at {
			return false
		}
		at = m.end()
		return true
	})
	if !hole && !found {
		at = n.size
	}
	return at, err
}

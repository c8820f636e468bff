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
	if err := f.ensureLoaded(ctx, h); err != nil {
		return wrap(err)
	}
	h.mu.RLock()
	size := h.size
	h.mu.RUnlock()
	if keep || to <= size {
		return nil
	}
	return f.truncate(ctx, h, to, nil)
}

// punch makes [from, to) a hole, in as many steps as it takes: those who read
// meanwhile may find a part of it.
func (f *Tree) punch(ctx context.Context, h *file, from, to int64) error {
	if err := f.flush(ctx); err != nil {
		return wrap(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := f.load(ctx, h); err != nil {
		return wrap(err)
	}
	if err := f.takeInline(ctx, h); err != nil {
		return wrap(err)
	}
	for i, b := range h.blocks { // an inline file, or what was written meanwhile
		lo, hi := max(from, i*BlockSize), min(to, (i+1)*BlockSize)
		if lo < hi {
			clear(b[lo-i*BlockSize : hi-i*BlockSize])
		}
	}
	if err := f.flushOne(ctx, h); err != nil {
		return wrap(err)
	}
	for more := true; more; {
		err := f.st.UpdateFreeing(ctx, func(tx *store.Tx) error {
			n, err := getInode(tx, h.ino)
			if err != nil {
				return err
			}
			end, rest, err := extentsEnd(tx, h.ino, from)
			if err != nil {
				return err
			}
			more = rest && end < to
			grown, err := replace(tx, h.ino, from, min(end, to), nil)
			if err != nil {
				return err
			}
			n.bytes += grown
			n.mtime = now()
			n.ctime = n.mtime
			return putInode(tx, h.ino, n)
		})
		if err != nil {
			return wrap(err)
		}
	}
	return nil
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
	err := f.st.View(ctx, func(tx *store.Tx) error {
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

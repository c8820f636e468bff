package fs

import (
	"context"
	"io"

	"github.com/coffer-fs/coffer/store"
)

// readAt fills p from the file at off. io.EOF if the file ends before.
func (f *Tree) readAt(ctx context.Context, h *file, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errInval
	}
	if err := f.ensureLoaded(ctx, h); err != nil {
		return 0, wrap(err)
	}
	h.mu.RLock()
	if h.gone {
		h.mu.RUnlock()
		return 0, errStale
	}
	size := h.size
	n := int(min(int64(len(p)), max(0, size-off)))
	// Buffered blocks first, then the volume: what is flushed in between is
	// then found there, and is the same.
	over := h.buffered(off, off+int64(n))
	h.mu.RUnlock()
	if n > 0 {
		stored, err := f.readStored(ctx, h, p[:n], off)
		if err != nil {
			return 0, wrap(err)
		}
		f.accessed(ctx, h, stored)
		for _, b := range over {
			b.copyTo(p[:n], off)
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *Tree) ensureLoaded(ctx context.Context, h *file) error {
	h.mu.RLock()
	loaded := h.loaded
	h.mu.RUnlock()
	if loaded {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return f.load(ctx, h)
}

// piece is a copy of a buffered block.
type piece struct {
	at   int64
	data []byte
}

// copyTo copies what the piece has of p, which begins at off of the file.
func (b piece) copyTo(p []byte, off int64) {
	lo, hi := max(b.at, off), min(b.at+int64(len(b.data)), off+int64(len(p)))
	if lo < hi {
		copy(p[lo-off:hi-off], b.data[lo-b.at:hi-b.at])
	}
}

// buffered copies the buffered blocks in [from, to). Callers hold mu.
func (h *file) buffered(from, to int64) []piece {
	if len(h.blocks) == 0 || from >= to {
		return nil
	}
	var out []piece
	for i := from / BlockSize; i*BlockSize < to; i++ {
		if b := h.blocks[i]; b != nil {
			out = append(out, piece{i * BlockSize, append([]byte(nil), b...)})
		}
	}
	return out
}

// readStored fills p from what the volume holds of the file: zeros where it
// holds nothing. It returns the inode it found.
func (f *Tree) readStored(ctx context.Context, h *file, p []byte, off int64) (n inode, err error) {
	err = f.view(ctx, func(tx *store.Tx) error {
		if n, err = getInode(tx, h.ino); err != nil {
			return err
		}
		// What lies behind the size in the volume is not data any more.
		end := int(max(0, min(n.size-off, int64(len(p)))))
		clear(p[end:])
		if n.flags&flagInline != 0 {
			return readInline(tx, h.ino, p[:end], off)
		}
		return f.readExtents(ctx, tx, h.ino, p[:end], off)
	})
	return n, err
}

// readExtents fills p from extents, and with zeros between them.
func (f *Tree) readExtents(ctx context.Context, tx *store.Tx, i Ino, p []byte, off int64) error {
	var reads []store.Read
	filled := off
	err := extents(tx, i, off, off+int64(len(p)), func(m mapped) bool {
		lo, hi := max(m.at, off), min(m.end(), off+int64(len(p)))
		clear(p[filled-off : lo-off])
		reads = append(reads, store.Read{Extent: m.extent, Off: uint32(lo - m.at), Dst: p[lo-off : hi-off]})
		filled = hi
		return true
	})
	if err != nil {
		return err
	}
	clear(p[filled-off:])
	return f.st.Read(ctx, reads)
}

func readInline(tx *store.Tx, i Ino, p []byte, off int64) error {
	b, err := getInline(tx, i)
	n := 0
	if err == nil && off < int64(len(b)) {
		n = copy(p, b[off:])
	}
	clear(p[n:])
	return err
}

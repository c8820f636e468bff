package fs

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"sync"
	"syscall"
)

// Handle is an open regular file, known by its inode. Its methods may be called
// at the same time. It must be closed.
type Handle struct {
	tree *Tree
	h    *file

	mu     sync.RWMutex // outermost: held for reading by every call, so that Close waits
	closed bool

	ahead readAhead
}

// OpenInode opens a regular file. ENOENT, EISDIR, EINVAL for other types.
func (f *Tree) OpenInode(ctx context.Context, i Ino) (*Handle, error) {
	h := f.hold(i)
	if err := f.ensureLoaded(ctx, h); err != nil {
		f.drop(ctx, h)
		if errors.Is(err, errStale) {
			err = syscall.ENOENT // its last name went just now: nobody has had it open
		}
		return nil, wrap(err)
	}
	return &Handle{tree: f, h: h}, nil
}

// Ino returns the inode number.
func (h *Handle) Ino() Ino { return h.h.ino }

// enter keeps the handle open until leave. os.ErrClosed.
func (h *Handle) enter() error {
	h.mu.RLock()
	if h.closed {
		h.mu.RUnlock()
		return os.ErrClosed
	}
	return nil
}

func (h *Handle) leave() { h.mu.RUnlock() }

// ReadAt implements reading at an offset as io.ReaderAt has it.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.enter(); err != nil {
		return 0, err
	}
	defer h.leave()
	return h.readAt(ctx, p, off)
}

// WriteAt writes at an offset, as one operation if p is at most 16 MiB.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.enter(); err != nil {
		return 0, err
	}
	defer h.leave()
	n, _, err := h.tree.writeAt(ctx, h.h, p, off, false)
	return n, err
}

// Append writes at the end of the file, wherever it is, and returns the offset
// behind what was written.
func (h *Handle) Append(ctx context.Context, p []byte) (n int, after int64, err error) {
	if err := h.enter(); err != nil {
		return 0, 0, err
	}
	defer h.leave()
	return h.tree.writeAt(ctx, h.h, p, 0, true)
}

// Truncate sets the size.
func (h *Handle) Truncate(ctx context.Context, size int64) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	return h.tree.truncate(ctx, h.h, sizing{size: size})
}

// Allocate does what fallocate does; see AllocKeepSize.
func (h *Handle) Allocate(ctx context.Context, mode uint32, off, size int64) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	return h.tree.allocate(ctx, h.h, mode, off, size)
}

// SeekData returns where data, or a hole, begins next. ENXIO.
func (h *Handle) SeekData(ctx context.Context, off int64, whence int) (int64, error) {
	if whence != SeekData && whence != SeekHole {
		return 0, errInval
	}
	if err := h.enter(); err != nil {
		return 0, err
	}
	defer h.leave()
	return h.tree.seekData(ctx, h.h, off, whence == SeekHole)
}

// Attr returns the attributes.
func (h *Handle) Attr(ctx context.Context) (Attr, error) {
	if err := h.enter(); err != nil {
		return Attr{}, err
	}
	defer h.leave()
	return h.tree.GetAttr(ctx, h.h.ino)
}

// Sync makes the file durable, and all that was done before.
func (h *Handle) Sync(ctx context.Context) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	return h.tree.Sync(ctx)
}

// Close lets the file go, after the calls that were begun. Its data becomes
// durable with the next Sync.
func (h *Handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return os.ErrClosed
	}
	h.closed = true
	h.tree.locks.unlock(h.h.ino, h, 0, math.MaxInt64)
	h.ahead.drop(h.tree)
	h.tree.drop(context.Background(), h.h)
	return nil
}

// size is the file's, with what is buffered of it.
func (h *Handle) size(ctx context.Context) (int64, error) {
	if err := h.enter(); err != nil {
		return 0, err
	}
	defer h.leave()
	if err := h.tree.ensureLoaded(ctx, h.h); err != nil {
		return 0, wrap(err)
	}
	h.h.mu.RLock()
	defer h.h.mu.RUnlock()
	return h.h.size, nil
}

// CopyRange copies between files as copy_file_range does, and returns how many
// bytes were copied: fewer where the source ends, or ended before a copy made it longer.
func CopyRange(ctx context.Context, from *Handle, fromOff int64, to *Handle, toOff, size int64) (int64, error) {
	if fromOff < 0 || toOff < 0 || size < 0 {
		return 0, errInval
	}
	size = min(size, math.MaxInt64-max(fromOff, toOff)) // no file is longer
	end, err := from.size(ctx)
	if err != nil {
		return 0, err
	}
	size = min(size, max(0, end-fromOff))
	if from.h == to.h && fromOff < toOff+size && toOff < fromOff+size {
		return 0, errInval
	}
	buf := make([]byte, min(size, 1<<20))
	var done int64
	for done < size {
		n, err := from.ReadAt(ctx, buf[:min(int64(len(buf)), size-done)], fromOff+done)
		if n > 0 {
			w, werr := to.WriteAt(ctx, buf[:n], toOff+done)
			done += int64(w)
			if werr != nil {
				return done, werr
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

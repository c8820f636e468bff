package fs

import (
	"context"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// maxExtentsPerUpdate is how many extents one Update removes: far less than
// store.MaxUpdate allows.
const maxExtentsPerUpdate = 2000

// truncate sets the size of a file, together with the changes that change
// makes to its inode. It is one operation; if there are too many extents to be
// removed in it, a mark takes their place until they are.
func (f *Tree) truncate(ctx context.Context, h *file, size int64, change func(*inode) error) error {
	if f.options.ReadOnly {
		return syscall.EROFS
	}
	if size < 0 {
		return errInval
	}
	if size > MaxFileSize {
		return syscall.EFBIG
	}
	if err := f.flush(ctx); err != nil {
		return wrap(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := f.load(ctx, h); err != nil {
		return wrap(err)
	}
	// Somebody may have buffered more meanwhile: it goes along.
	if err := f.flushOne(ctx, h); err != nil {
		return wrap(err)
	}
	more := false
	err := f.st.UpdateFreeing(ctx, func(tx *store.Tx) (err error) {
		n, err := getInode(tx, h.ino)
		if err != nil {
			return err
		}
		if change != nil {
			if err := change(&n); err != nil {
				return err
			}
		}
		more, err = shrink(tx, h.ino, &n, size)
		if err != nil {
			return err
		}
		if size != n.size {
			n.mtime = now()
		}
		n.size = size
		n.ctime = now()
		return putInode(tx, h.ino, n)
	})
	if err != nil {
		return wrap(err)
	}
	h.size = size
	if more {
		return wrap(f.trim(ctx, h.ino))
	}
	return nil
}

// flushOne brings what is buffered of one file to the volume. Callers hold
// h.mu.
func (f *Tree) flushOne(ctx context.Context, h *file) error {
	if !h.changed() || h.gone {
		return nil
	}
	fl := f.st.NewFlush()
	defer fl.Close()
	g := &group{tree: f, flush: fl, files: []*pending{{file: h}}}
	if err := g.seal(ctx, g.files[0], 0, 0); err != nil {
		return err
	}
	return g.run(ctx)
}

// shrink removes what lies behind size. If that is too much for one Update it
// removes the first part, leaves the mark that the rest is no data any more,
// and reports more.
func shrink(tx *store.Tx, i Ino, n *inode, size int64) (more bool, err error) {
	if size >= n.size {
		return false, nil
	}
	if n.flags&flagInline != 0 {
		b, err := getInline(tx, i)
		if err != nil || int64(len(b)) <= size {
			return false, err
		}
		n.bytes = size
		return false, putInline(tx, i, b[:size])
	}
	end, more, err := extentsEnd(tx, i, size)
	if err != nil {
		return false, err
	}
	grown, err := replace(tx, i, size, end, nil)
	n.bytes += grown
	if err == nil && more {
		err = tx.Put(trimKey(i), nil)
	}
	return more, err
}

// extentsEnd returns an offset up to which one Update can remove the extents of
// a file behind from, and whether there are more.
func extentsEnd(tx *store.Tx, i Ino, from int64) (end int64, more bool, err error) {
	end = endOfFile
	count := 0
	err = extents(tx, i, from, endOfFile, func(m mapped) bool {
		if count++; count > maxExtentsPerUpdate {
			more = true
			return false
		}
		end = m.end()
		return true
	})
	if !more {
		end = endOfFile
	}
	return end, more, err
}

// trim removes the extents behind the size of a file that has the mark, and then
// the mark.
func (f *Tree) trim(ctx context.Context, i Ino) error {
	for more := true; more; {
		err := f.st.UpdateFreeing(ctx, func(tx *store.Tx) error {
			n, err := getInode(tx, i)
			if err != nil {
				return err
			}
			end, rest, err := extentsEnd(tx, i, n.size)
			if err != nil {
				return err
			}
			grown, err := replace(tx, i, n.size, end, nil)
			if err != nil {
				return err
			}
			n.bytes += grown
			if more = rest; !more {
				if err := tx.Delete(trimKey(i)); err != nil {
					return err
				}
			}
			return putInode(tx, i, n)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

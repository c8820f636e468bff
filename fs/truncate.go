package fs

import (
	"context"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// maxExtentsPerUpdate is how many extents one Update removes: far less than
// store.MaxUpdate allows.
const maxExtentsPerUpdate = 2000

// sizing says how truncate sets a size.
type sizing struct {
	size   int64
	grow   bool                          // never to less than it is
	change func(*store.Tx, *inode) error // of the inode too, if not nil
}

// truncate sets the size of a file, with other changes of its inode. It is one
// operation; if there are too many extents to be removed in it, a mark takes
// their place until they are.
func (f *Tree) truncate(ctx context.Context, h *file, s sizing) error {
	switch {
	case f.options.ReadOnly:
		return syscall.EROFS
	case s.size < 0:
		return errInval
	case s.size > MaxFileSize:
		return syscall.EFBIG
	}
	if err := f.lockFlushed(ctx, h); err != nil {
		return wrap(err)
	}
	defer h.mu.Unlock()
	if s.grow && s.size <= h.size {
		return nil
	}
	more := false
	err := f.st.UpdateFreeing(ctx, func(tx *store.Tx) (err error) {
		more, err = s.apply(tx, h.ino)
		return err
	})
	if err != nil {
		return wrap(err)
	}
	h.size = s.size
	h.edits++
	f.settled.Add(1)
	if more {
		h.excess = true
		// The operation is done. What is left to do must not be given up.
		return wrap(f.finishTrim(context.WithoutCancel(ctx), h))
	}
	return nil
}

// apply changes the inode and as many extents as it can; more is what shrink
// says.
func (s sizing) apply(tx *store.Tx, i Ino) (more bool, err error) {
	n, err := getInode(tx, i)
	if err != nil {
		return false, err
	}
	if more, err = shrink(tx, i, &n, s.size); err != nil {
		return false, err
	}
	n.size = s.size
	n.mtime = now()
	n.ctime = n.mtime
	if s.change != nil {
		if err := s.change(tx, &n); err != nil {
			return false, err
		}
	}
	return more, putInode(tx, i, n)
}

// flushOne brings what is buffered of one file to the volume. Nothing that was
// written before may be buffered of another one. Callers hold h.mu.
func (f *Tree) flushOne(ctx context.Context, h *file) error {
	fl := f.newFlush()
	defer fl.Close()
	g := &group{tree: f, flush: fl}
	_, err := g.flushFiles(ctx, []*file{h}, f.waitingUpdate(ctx))
	return err
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

// finishTrim removes what a truncate that was cut short left behind the size of
// the file: it would show if the file grew. Callers hold h.mu.
func (f *Tree) finishTrim(ctx context.Context, h *file) error {
	if !h.excess {
		return nil
	}
	err := f.trim(ctx, h.ino)
	h.excess = err != nil
	return err
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

package fs

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/coffer-fs/coffer/store"
)

// forget removes the name-less inode i in the Update that took its last name: at
// once if it is small and not open, else by leaving a mark. It reports whether
// the mark was left.
func (f *Tree) forget(tx *store.Tx, i Ino, n inode) (orphan bool, err error) {
	if f.isOpen(i) || f.isKnown(i) {
		return true, markOrphan(tx, i, n)
	}
	done, err := deleteItems(tx, i, smallFile)
	if err != nil {
		return false, err
	}
	if !done {
		return true, markOrphan(tx, i, n)
	}
	return false, f.countInodes(tx, -1)
}

// smallFile is how many items a file may have to be deleted with its last name.
const smallFile = 64

func markOrphan(tx *store.Tx, i Ino, n inode) error {
	n.links = 0
	n.ctime = now()
	if err := putInode(tx, i, n); err != nil {
		return err
	}
	return tx.Put(orphanKey(i), nil)
}

// deleteItems deletes the items of i if there are at most limit; otherwise, if
// limit is what one Update can hold, as many, leaving the inode for the end.
func deleteItems(tx *store.Tx, i Ino, limit int) (done bool, err error) {
	var keys []store.Key
	done = true
	err = tx.Scan(inodeKey(i), store.Key{Object: uint64(i) + 1}, func(k store.Key, _ []byte) (bool, error) {
		if len(keys) == limit {
			done = false
			return false, nil
		}
		keys = append(keys, k)
		return true, nil
	})
	if err != nil || !done && limit == smallFile {
		return false, err
	}
	for _, k := range keys {
		if !done && k == inodeKey(i) {
			continue
		}
		if err := tx.Delete(k); err != nil {
			return false, err
		}
	}
	return done, nil
}

// reap deletes an orphan, in as many steps as it takes. It is no operation of
// the history: nobody can see what it removes.
func (f *Tree) reap(ctx context.Context, i Ino) error {
	for done := false; !done; {
		err := f.st.UpdateFreeing(ctx, func(tx *store.Tx) (err error) {
			done, err = f.reapStep(tx, i)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *Tree) reapStep(tx *store.Tx, i Ino) (done bool, err error) {
	n, err := getInode(tx, i)
	if err != nil {
		return false, err
	}
	if n.links > 0 {
		return false, damaged("inode %d has %d names and is to be deleted", i, n.links)
	}
	if done, err = deleteItems(tx, i, maxExtentsPerUpdate); err != nil || !done {
		return false, err
	}
	if err := deleteMarks(tx, i); err != nil {
		return false, err
	}
	return true, f.countInodes(tx, -1)
}

// reapInMemory deletes an orphan that was let go by whoever had it open.
func (f *Tree) reapInMemory(ctx context.Context, h *file) {
	if f.letGo(h) {
		f.reapLogged(ctx, h.ino)
	}
}

// letGo takes an orphan that nobody has open out of memory, and reports whether it
// is to be deleted.
func (f *Tree) letGo(h *file) bool {
	again := f.bury(h)
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	if h.refs == 0 {
		delete(f.files, h.ino)
	}
	return !again && !f.options.ReadOnly
}

func (f *Tree) reapLogged(ctx context.Context, i Ino) {
	if err := f.reap(context.WithoutCancel(ctx), i); err != nil {
		f.options.Logger.Warn("delete orphan", "inode", i, "error", err) // the next Open tries again
	}
}

// maxReapBatch is how many small orphans are deleted in one Update.
const maxReapBatch = 64

// reapMany deletes orphans that were forgotten, unless somebody has them open: the
// small ones in one Update.
func (f *Tree) reapMany(ctx context.Context, inos []Ino) {
	var dead []Ino
	for _, i := range inos {
		h := f.hold(i)
		f.setOrphan(h, true)
		if f.release(h) && !f.waits(i) && f.letGo(h) {
			dead = append(dead, i)
		}
	}
	if len(dead) == 0 {
		return
	}
	var rest []Ino
	err := f.st.UpdateFreeing(context.WithoutCancel(ctx), func(tx *store.Tx) (err error) {
		rest, err = f.reapSmall(tx, dead)
		return err
	})
	if err != nil {
		rest = dead // one by one, to name the one it failed at
	}
	for _, i := range rest {
		f.reapLogged(ctx, i)
	}
}

// reapSmall deletes orphans of few items, and returns the others.
func (f *Tree) reapSmall(tx *store.Tx, inos []Ino) (rest []Ino, err error) {
	for _, i := range inos {
		n, err := getInode(tx, i)
		if err != nil {
			return nil, err
		}
		if n.links > 0 {
			return nil, damaged("inode %d has %d names and is to be deleted", i, n.links)
		}
		done, err := deleteItems(tx, i, smallFile)
		if err != nil {
			return nil, err
		}
		if !done {
			rest = append(rest, i)
			continue
		}
		if err := deleteMarks(tx, i); err != nil {
			return nil, err
		}
	}
	return rest, f.countInodes(tx, len(rest)-len(inos))
}

// deleteMarks deletes the items of an orphan that stand elsewhere.
func deleteMarks(tx *store.Tx, i Ino) error {
	return firstErr(tx.Delete(orphanKey(i)), tx.Delete(trimKey(i)))
}

// bury has whoever comes to hold the file from now on find it gone, and forgets
// what is buffered. It reports whether it was gone before.
func (f *Tree) bury(h *file) (again bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	again, h.gone = h.gone, true
	h.mtime, h.atime, h.ctime = 0, 0, 0
	f.dropBlocks(h, slices.Collect(maps.Keys(h.blocks)))
	return again
}

// unnamed does what is left to do for an inode that forget marked: if nobody has
// it open any more it goes.
func (f *Tree) unnamed(ctx context.Context, i Ino) {
	h := f.hold(i)
	f.setOrphan(h, true)
	f.drop(ctx, h)
}

func (f *Tree) isOrphan(h *file) bool {
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	return h.orphan
}

func (f *Tree) setOrphan(h *file, orphan bool) {
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	h.orphan = orphan
}

// reapAll finishes what a crash, or a close with open files, left undone.
func (f *Tree) reapAll(ctx context.Context) error {
	for _, t := range []struct {
		from store.Key
		do   func(context.Context, Ino) error
	}{{trimKey(0), f.trim}, {orphanKey(0), f.reap}} {
		var inos []Ino
		err := f.view(ctx, func(tx *store.Tx) error {
			return tx.Scan(t.from, typeEnd(superObject, t.from.Type), func(k store.Key, _ []byte) (bool, error) {
				inos = append(inos, Ino(k.Sub))
				return true, nil
			})
		})
		if err != nil {
			return err
		}
		for _, i := range inos {
			err := t.do(ctx, i)
			if errors.Is(err, store.ErrFull) {
				f.options.Logger.Warn("no room to finish what was cut off: the next opening tries again", "inode", i, "error", err)
				return nil // a full volume must open, so that snapshots can be deleted
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// countInodes changes the number of inodes in use.
func (f *Tree) countInodes(tx *store.Tx, by int) error {
	s, err := getSuper(tx)
	if err != nil {
		return err
	}
	s.inodes += uint64(by)
	return tx.Put(superKey, s.encode())
}

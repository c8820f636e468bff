package fs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/coffer-fs/coffer/store"
)

// KeepKnown has inodes without names live on while known says that somebody
// outside of this package remembers them, as a kernel does until it forgets. It
// must be set before the filesystem is used. known must not call the Tree.
//
// Whoever sets it calls Forgotten for each inode that is no longer known.
func (f *Tree) KeepKnown(known func(Ino) bool) { f.known = known }

// reapDelay is how long those that were forgotten are gathered: a kernel forgets the
// files of a tree that is deleted one by one, and each alone would cost an Update and
// a goroutine that is woken.
const reapDelay = 20 * time.Millisecond

// Forgotten says that an inode is no longer known. It does not wait.
func (f *Tree) Forgotten(i Ino) {
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	if !f.waiting[i] {
		return
	}
	delete(f.waiting, i)
	f.forgotten = append(f.forgotten, i)
	select {
	case f.reapKick <- struct{}{}:
	default:
	}
}

// isKnown may be called in an Update.
func (f *Tree) isKnown(i Ino) bool { return f.known != nil && f.known(i) }

// waits reports whether an orphan that nobody has open must wait until it is
// forgotten.
func (f *Tree) waits(i Ino) bool {
	if f.known == nil {
		return false
	}
	// It waits first and looks then: if it is forgotten in between, either
	// this or Forgotten takes it back.
	f.filesMu.Lock()
	f.waiting[i] = true
	f.filesMu.Unlock()
	if f.known(i) {
		return true
	}
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	mine := f.waiting[i]
	delete(f.waiting, i)
	return !mine
}

// reapForgotten deletes the orphans that were forgotten.
func (f *Tree) reapForgotten(ctx context.Context) {
	f.filesMu.Lock()
	inos := f.forgotten
	f.forgotten = nil
	f.filesMu.Unlock()
	for len(inos) > 0 {
		n := min(len(inos), maxReapBatch)
		f.reapMany(ctx, inos[:n])
		inos = inos[n:]
	}
}

// reapWaiting deletes all orphans: nobody can know them after a close.
func (f *Tree) reapWaiting(ctx context.Context) {
	f.reapForgotten(ctx)
	f.filesMu.Lock()
	inos := slices.Collect(maps.Keys(f.waiting))
	f.filesMu.Unlock()
	for _, i := range inos {
		f.Forgotten(i)
	}
	f.known = nil
	f.reapForgotten(ctx)
}

// reserve sets room aside. What was deleted and is not yet gone makes way first.
func (f *Tree) reserve(ctx context.Context, n int64) error {
	err := f.st.Reserve(n)
	if errors.Is(err, store.ErrFull) {
		f.reapForgotten(ctx)
		err = f.st.Reserve(n)
	}
	return err
}

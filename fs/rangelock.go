package fs

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"syscall"
)

// Range locks are advisory, and those of Linux's open file descriptions: the
// owner is the open file, a lock on a range that it has locked replaces that one,
// and closing gives all back. They are in memory, between users of one open
// filesystem: the volume has one opener anyway. The kernel keeps those of a mount
// by itself.

// Range is a part of a file to be locked, whether it has those bytes or not.
type Range struct {
	Off  int64
	Size int64 // 0 for all that is behind Off, however long the file grows
}

// span is a Range as from and behind.
func (r Range) span() (from, to int64, err error) {
	if r.Off < 0 || r.Size < 0 || r.Size > math.MaxInt64-r.Off {
		return 0, 0, fmt.Errorf("lock of %d bytes at %d: %w", r.Size, r.Off, syscall.EINVAL)
	}
	if r.Size == 0 {
		return r.Off, math.MaxInt64, nil
	}
	return r.Off, r.Off + r.Size, nil
}

// rangeLock is what one owner has of one file.
type rangeLock struct {
	owner     *Handle
	from, to  int64
	exclusive bool
}

// fileLocks are the locks of one file; of one owner they do not overlap.
type fileLocks struct {
	held    []rangeLock
	changed chan struct{} // closed when held gets smaller
}

// lockTable has the locks of all files; its zero value is empty.
type lockTable struct {
	mu    sync.Mutex // innermost
	files map[Ino]*fileLocks
}

// conflicts reports whether somebody else has what the owner may not share.
func (l *fileLocks) conflicts(want rangeLock) bool {
	return slices.ContainsFunc(l.held, func(h rangeLock) bool {
		return h.owner != want.owner && h.from < want.to && want.from < h.to && (h.exclusive || want.exclusive)
	})
}

// cut takes a range from what owner has, and wakes who waits.
func (l *fileLocks) cut(owner *Handle, from, to int64) {
	var rest []rangeLock
	for _, h := range l.held {
		if h.owner != owner || h.to <= from || to <= h.from {
			rest = append(rest, h)
			continue
		}
		if h.from < from {
			rest = append(rest, rangeLock{owner, h.from, from, h.exclusive})
		}
		if to < h.to {
			rest = append(rest, rangeLock{owner, to, h.to, h.exclusive})
		}
	}
	l.held = rest
	close(l.changed)
	l.changed = make(chan struct{})
}

// try takes the lock, or returns a channel that is closed when it is worth
// another try.
func (t *lockTable) try(i Ino, want rangeLock) (busy <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.files[i]
	if l == nil {
		l = &fileLocks{changed: make(chan struct{})}
		if t.files == nil {
			t.files = map[Ino]*fileLocks{}
		}
		t.files[i] = l
	}
	if l.conflicts(want) {
		return l.changed
	}
	l.cut(want.owner, want.from, want.to)
	l.held = append(l.held, want)
	return nil
}

// locked reports whether want would have to wait.
func (t *lockTable) locked(i Ino, want rangeLock) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.files[i]
	return l != nil && l.conflicts(want)
}

// unlock gives back a range, held or not.
func (t *lockTable) unlock(i Ino, owner *Handle, from, to int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.files[i]
	if l == nil {
		return
	}
	l.cut(owner, from, to)
	if len(l.held) == 0 {
		delete(t.files, i)
	}
}

// Lock locks a range, and waits for it until ctx ends. Nothing sees to it that
// two who wait for each other go on: end ctx. os.ErrClosed, EINVAL.
func (h *Handle) Lock(ctx context.Context, r Range, exclusive bool) error {
	for {
		busy, err := h.tryLock(r, exclusive)
		if err != nil || busy == nil {
			return err
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TryLock is Lock that does not wait: EAGAIN if somebody else has the lock.
func (h *Handle) TryLock(r Range, exclusive bool) error {
	busy, err := h.tryLock(r, exclusive)
	if err == nil && busy != nil {
		err = syscall.EAGAIN
	}
	return err
}

func (h *Handle) tryLock(r Range, exclusive bool) (busy <-chan struct{}, err error) {
	from, to, err := r.span()
	if err != nil {
		return nil, err
	}
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	return h.tree.locks.try(h.h.ino, rangeLock{h, from, to, exclusive}), nil
}

// Locked reports whether somebody else has what TryLock would need.
func (h *Handle) Locked(r Range, exclusive bool) (bool, error) {
	from, to, err := r.span()
	if err != nil {
		return false, err
	}
	if err := h.enter(); err != nil {
		return false, err
	}
	defer h.leave()
	return h.tree.locks.locked(h.h.ino, rangeLock{h, from, to, exclusive}), nil
}

// Unlock gives back what was locked of a range.
func (h *Handle) Unlock(r Range) error {
	from, to, err := r.span()
	if err != nil {
		return err
	}
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	h.tree.locks.unlock(h.h.ino, h, from, to)
	return nil
}

// locker is what the locks of a File go through: not those of a directory.
func (f *File) locker(op string) (*Handle, error) {
	switch {
	case f.closed.Load():
		return nil, pathError(op, f.name, os.ErrClosed)
	case f.handle == nil:
		return nil, pathError(op, f.name, syscall.EISDIR)
	}
	return f.handle, nil
}

// Lock locks a range, and waits for it until ctx ends; see Handle.Lock.
func (f *File) Lock(ctx context.Context, r Range, exclusive bool) error {
	h, err := f.locker("lock")
	if err != nil {
		return err
	}
	return pathError("lock", f.name, h.Lock(ctx, r, exclusive))
}

// TryLock is Lock that does not wait: EAGAIN if somebody else has the lock.
func (f *File) TryLock(r Range, exclusive bool) error {
	h, err := f.locker("lock")
	if err != nil {
		return err
	}
	return pathError("lock", f.name, h.TryLock(r, exclusive))
}

// Locked reports whether somebody else has what TryLock would need.
func (f *File) Locked(r Range, exclusive bool) (bool, error) {
	h, err := f.locker("lock")
	if err != nil {
		return false, err
	}
	locked, err := h.Locked(r, exclusive)
	return locked, pathError("lock", f.name, err)
}

// Unlock gives back what was locked of a range.
func (f *File) Unlock(r Range) error {
	h, err := f.locker("unlock")
	if err != nil {
		return err
	}
	return pathError("unlock", f.name, h.Unlock(r))
}

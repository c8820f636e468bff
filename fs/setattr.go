package fs

import (
	"context"
	"syscall"
	"time"

	"github.com/coffer-fs/coffer/store"
)

// SetAttr says which attributes to change; nil leaves one alone.
type SetAttr struct {
	Mode  *uint32 // permission bits only
	UID   *uint32
	GID   *uint32
	Size  *int64
	Atime *time.Time
	Mtime *time.Time
	Ctime *time.Time // for those who keep times themselves; now otherwise
	// KillPriv clears set-user-ID and set-group-ID as a write by a user does.
	KillPriv bool
}

// SetAttr changes attributes in one operation, and returns all of them.
func (f *Tree) SetAttr(ctx context.Context, i Ino, s SetAttr) (Attr, error) {
	h := f.hold(i)
	defer f.drop(ctx, h)
	if s.onlyTimes() && f.setTimes(ctx, h, s) {
		return f.GetAttr(ctx, i)
	}
	var a Attr
	change := func(tx *store.Tx, n *inode) error {
		if err := s.apply(n); err != nil || s.Mode == nil {
			return err
		}
		return f.chmodACL(tx, i, n)
	}
	var err error
	if s.Size != nil {
		err = f.truncate(ctx, h, sizing{size: *s.Size, change: change})
	} else {
		err = f.update(ctx, func(tx *store.Tx) error {
			n, err := getInode(tx, i)
			if err != nil {
				return err
			}
			if err := change(tx, &n); err != nil {
				return err
			}
			return putInode(tx, i, n)
		})
	}
	if err != nil {
		return Attr{}, err
	}
	if a, err = f.GetAttr(ctx, i); err != nil {
		return Attr{}, err
	}
	return a, nil
}

// onlyTimes reports whether nothing but times are set.
func (s SetAttr) onlyTimes() bool {
	return s.Mode == nil && s.UID == nil && s.GID == nil && s.Size == nil && !s.KillPriv
}

// setTimes buffers times as it buffers data: a kernel that keeps times itself sends
// them each time it sends data. It reports whether it did: not for directories, nor
// after an error, which the caller then comes upon itself. Those of a file without a
// name, which a kernel sends after each unlink, stay in memory unless it is given one.
func (f *Tree) setTimes(ctx context.Context, h *file, s SetAttr) bool {
	if f.options.ReadOnly || f.admit(ctx, fileCost) != nil {
		return false
	}
	defer f.admitted(fileCost)
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.load(ctx, h) != nil {
		return false
	}
	n := inode{mtime: h.mtime, atime: h.atime}
	if s.apply(&n) != nil || n.ctime == 0 || s.Mtime != nil && n.mtime == 0 || s.Atime != nil && n.atime == 0 {
		return false // 0 stands for none
	}
	h.mtime, h.atime, h.ctime = n.mtime, n.atime, n.ctime
	if !f.isOrphan(h) {
		f.note(h)
	}
	return true
}

func (s SetAttr) apply(n *inode) error {
	if s.Mode != nil {
		n.mode = n.mode&syscall.S_IFMT | *s.Mode&0o7777
	}
	if s.UID != nil {
		n.uid = *s.UID
	}
	if s.GID != nil {
		n.gid = *s.GID
	}
	if s.KillPriv {
		n.killPriv()
	}
	if s.Atime != nil {
		n.atime = toNanos(*s.Atime)
	}
	if s.Mtime != nil {
		n.mtime = toNanos(*s.Mtime)
	}
	n.ctime = now()
	if s.Ctime != nil {
		n.ctime = toNanos(*s.Ctime)
	}
	return nil
}

// killPriv clears what lets others run the file as its owner or group.
func (n *inode) killPriv() {
	if n.isDir() {
		return
	}
	n.mode &^= syscall.S_ISUID
	if n.mode&syscall.S_IXGRP != 0 {
		n.mode &^= syscall.S_ISGID
	}
}

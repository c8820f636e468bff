package sqlitevfs

import (
	"errors"
	"syscall"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	cofs "github.com/coffer-fs/coffer/fs"
)

// The bytes that SQLite's locks stand for, which hold no data:
// https://sqlite.org/fileformat2.html#the_lock_byte_page.
var (
	pendingByte  = cofs.Range{Off: 0x40000000, Size: 1}
	reservedByte = cofs.Range{Off: 0x40000001, Size: 1}
	sharedBytes  = cofs.Range{Off: 0x40000002, Size: 510}
)

// Lock implements vfs.File, by the steps of https://sqlite.org/lockingv3.html.
// BUSY if another connection is in the way.
func (f *file) Lock(level vfs.LockLevel) error {
	if level <= f.lock {
		return nil
	}
	var err error
	switch level {
	case vfs.LOCK_SHARED:
		err = f.lockShared()
	case vfs.LOCK_RESERVED:
		err = f.TryLock(reservedByte, true)
	case vfs.LOCK_EXCLUSIVE:
		err = f.lockExclusive()
	default:
		return sqlite3.MISUSE
	}
	if err != nil {
		return busy(err)
	}
	f.lock = level
	return nil
}

// lockShared passes through the pending byte, which a writer holds that waits for
// the readers to end.
func (f *file) lockShared() error {
	if err := f.TryLock(pendingByte, false); err != nil {
		return err
	}
	return errors.Join(f.TryLock(sharedBytes, false), f.File.Unlock(pendingByte))
}

// lockExclusive keeps new readers out, also when there are old ones left: then
// the level is pending, and the caller tries again.
func (f *file) lockExclusive() error {
	if f.lock < vfs.LOCK_PENDING {
		if err := f.TryLock(pendingByte, true); err != nil {
			return err
		}
		f.lock = vfs.LOCK_PENDING
	}
	return f.TryLock(sharedBytes, true)
}

// Unlock implements vfs.File: to LOCK_SHARED or LOCK_NONE.
func (f *file) Unlock(level vfs.LockLevel) error {
	if level >= f.lock {
		return nil
	}
	var err error
	if level == vfs.LOCK_SHARED {
		err = f.TryLock(sharedBytes, false) // weaker than what it has
	} else {
		err = f.File.Unlock(sharedBytes)
	}
	err = errors.Join(err, f.File.Unlock(reservedByte), f.File.Unlock(pendingByte))
	f.lock = level
	return coded(err, sqlite3.IOERR_UNLOCK)
}

// CheckReservedLock implements vfs.File.
func (f *file) CheckReservedLock() (bool, error) {
	if f.lock >= vfs.LOCK_RESERVED {
		return true, nil
	}
	locked, err := f.Locked(reservedByte, false)
	return locked, coded(err, sqlite3.IOERR_CHECKRESERVEDLOCK)
}

// LockState implements vfs.FileLockState.
func (f *file) LockState() vfs.LockLevel { return f.lock }

func busy(err error) error {
	if errors.Is(err, syscall.EAGAIN) {
		return sqlite3.BUSY
	}
	return coded(err, sqlite3.IOERR_LOCK)
}

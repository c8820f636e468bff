package audit

import "errors"

// Opening and verifying.
var (
	// ErrDamaged: a line is not what was written, or not where it was.
	ErrDamaged = errors.New("audit log is damaged")
	// ErrKey: the log is signed by another key than those that are trusted.
	ErrKey = errors.New("audit log is signed by another key")
	// ErrCutOff: the log does not have what a head that was kept says.
	ErrCutOff = errors.New("audit log is not the one that was signed before")
	// ErrInUse: another process has the log open.
	ErrInUse = errors.New("audit log is in use")
)

// Appending.
var (
	// ErrTooLong: the entry makes a line longer than MaxLineBytes.
	ErrTooLong = errors.New("audit entry is too long")
	// ErrBroken: a write or a sync failed, now or before. It is final.
	ErrBroken = errors.New("audit log cannot be written")
	// ErrConflict: the store has other lines than the node wrote.
	ErrConflict = errors.New("audit log was changed by somebody else")
	// ErrBusy: MaxWaiting lines wait already.
	ErrBusy = errors.New("audit log is busy")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("audit log is closed")
)

package audit

import "errors"

// Opening and verifying.
var (
	// ErrDamaged: a line is not what was written, or not where it was.
	ErrDamaged = errors.New("audit log is damaged")
	// ErrInUse: another process has the log open.
	ErrInUse = errors.New("audit log is in use")
)

// Appending.
var (
	// ErrTooLong: the entry makes a line longer than MaxLineBytes.
	ErrTooLong = errors.New("audit entry is too long")
	// ErrBroken: a write or a sync failed, now or before. It is final.
	ErrBroken = errors.New("audit log cannot be written")
	// ErrBusy: MaxWaiting lines wait already.
	ErrBusy = errors.New("audit log is busy")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("audit log is closed")
)

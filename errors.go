package coffer

import "errors"

// Errors of Open and Create, beside those of store, fs and kds.
var (
	// ErrOptions: something needed is not given.
	ErrOptions = errors.New("incomplete options")
	// ErrNotConfigured: the configuration has no filesystem of that kind.
	ErrNotConfigured = errors.New("the configuration has no persistent filesystem")
	// ErrOtherSpec: the volume is sealed for another key spec than the one the
	// configuration names.
	ErrOtherSpec = errors.New("sealed for another key spec")
	// ErrSize: the configuration does not allow that size.
	ErrSize = errors.New("over the configured size")
	// ErrAnchor: the configured anchor can't be used, or not in this way.
	ErrAnchor = errors.New("anchor")
	// ErrMigrating: a migration of the volume is under way.
	ErrMigrating = errors.New("a migration of the volume is under way")
	// ErrNoTicketKey: the configuration names no key for upgrade tickets, so no
	// handover can be made or taken up.
	ErrNoTicketKey = errors.New("the configuration has no upgrade block with a ticketKey")
	// ErrHostInProcess: a release enclave was given a host that works inside
	// the enclave on files of the machine.
	ErrHostInProcess = errors.New("a release enclave must reach its volume in another process")
)

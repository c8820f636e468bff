package remote

import (
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
)

// When opening.
var (
	// ErrURL: the address of a volume is malformed, or not allowed.
	ErrURL = errors.New("not the address of a volume on a host process")
	// ErrUnauthorized: the host process wants a token, or another one.
	ErrUnauthorized = errors.New("the host process does not accept the token")
)

// When calling.
var (
	// ErrUnreachable: the host process could not be reached, or did not answer,
	// for as long as Options.Patience.
	ErrUnreachable = errors.New("the host process cannot be reached")
	// ErrAnswer: the host process answered what no honest one does.
	ErrAnswer = errors.New("the host process gave a wrong answer")
	// ErrFailed: the host process failed in a way that leaves the outcome
	// unknown.
	ErrFailed = errors.New("the host process failed")
)

var errReleased = fmt.Errorf("writer was released: %w", host.ErrInvalid)

// Reasons to try again. They do not leave this package.
var (
	errLost = errors.New("the host process does not know the lease")
	errBusy = errors.New("the host process is busy")
)

// cutError: the connection failed, so it is unknown whether the call had an
// effect.
type cutError struct{ err error }

func (e *cutError) Error() string { return e.err.Error() }
func (e *cutError) Unwrap() error { return e.err }

func isCut(err error) bool {
	var cut *cutError
	return errors.As(err, &cut)
}

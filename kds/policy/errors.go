package policy

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalid: a text is not a constraint, or a constraint names nobody.
	ErrInvalid = errors.New("invalid policy constraint")
	// ErrMismatch: an enclave is not one of those that a constraint means.
	ErrMismatch = errors.New("enclave does not meet the policy")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Mismatch is the first term of a constraint that an enclave fails. It is an
// ErrMismatch.
type Mismatch struct{ Term, Wanted, Got string }

// Error implements error.
func (m *Mismatch) Error() string {
	return fmt.Sprintf("%v: %s: wants %s, got %s", ErrMismatch, m.Term, m.Wanted, m.Got)
}

// Is makes every Mismatch an ErrMismatch.
func (m *Mismatch) Is(target error) bool { return target == ErrMismatch }

package local

import (
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
)

// When opening or reading.
var (
	// ErrDamaged: the catalog, or the directory around it, is not as this
	// package leaves it. The segments may still be whole.
	ErrDamaged = errors.New("the volume's catalog is damaged")
	// ErrFormat: the directory is a volume in a format that is not known here.
	ErrFormat = errors.New("unknown format of a volume on the host")
	// ErrBusy: another process kept one of the short locks for too long.
	ErrBusy = errors.New("the volume's lock is busy")
)

var (
	errClosed   = fmt.Errorf("volume was closed: %w", host.ErrInvalid)
	errReleased = fmt.Errorf("writer was released: %w", host.ErrInvalid)
)

// damaged marks err as ErrDamaged.
func damaged(err error) error { return fmt.Errorf("%w: %w", ErrDamaged, err) }

// uncertainError is a failure after which the outcome is unknown.
type uncertainError struct{ err error }

func (e *uncertainError) Error() string { return e.err.Error() }
func (e *uncertainError) Unwrap() error { return e.err }

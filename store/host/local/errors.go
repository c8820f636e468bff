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
	// ErrPartial: a transfer into the directory was begun and is not finished, so
	// there is no volume yet.
	ErrPartial = errors.New("a transfer into it is not finished")
	// ErrBusy: another process kept one of the short locks for too long.
	ErrBusy = errors.New("the volume's lock is busy")
)

// When receiving.
var (
	// ErrDiverged: what comes goes on from a point that the volume is not, or is not
	// any more.
	ErrDiverged = errors.New("the volume is not at the point that the transfer goes on from")
	// ErrOther: another transfer was begun in the directory, and is not finished.
	ErrOther = errors.New("another transfer into it was begun and is not finished")
)

var (
	errClosed  = fmt.Errorf("volume was closed: %w", host.ErrInvalid)
	errNoPoint = fmt.Errorf("there is no such point: %w", host.ErrNotFound)
	// errPointExists: a name stands for one point.
	errPointExists = fmt.Errorf("there is a point of that name: %w", host.ErrExists)
	errReleased    = fmt.Errorf("writer was released: %w", host.ErrInvalid)
)

// damaged marks err as ErrDamaged.
func damaged(err error) error { return fmt.Errorf("%w: %w", ErrDamaged, err) }

// uncertainError is a failure after which the outcome is unknown.
type uncertainError struct{ err error }

func (e *uncertainError) Error() string { return e.err.Error() }
func (e *uncertainError) Unwrap() error { return e.err }

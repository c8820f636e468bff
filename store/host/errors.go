package host

import "errors"

// Refusals: the call had no effect, and the error says so.
var (
	// ErrNotFound: no such record, segment or volume.
	ErrNotFound = errors.New("not found on the host")
	// ErrExists: the volume or segment to be created is already there.
	ErrExists = errors.New("already exists on the host")
	// ErrConflict: the record is no longer in the state the caller knew.
	ErrConflict = errors.New("the record was changed by someone else")
	// ErrOffset: an append does not continue its segment, or overflows it.
	ErrOffset = errors.New("append at the wrong offset")
	// ErrNoSpace: the host has no room, or the volume's quota is used up.
	ErrNoSpace = errors.New("no space left on the host")
	// ErrInUse: another writer holds the volume.
	ErrInUse = errors.New("volume is in use")
	// ErrFenced: another writer took the volume over.
	ErrFenced = errors.New("volume was taken over by another writer")
	// ErrHeld: something that was asked for, such as a point, keeps what is to be
	// forgotten. All else is.
	ErrHeld = errors.New("the host was asked to keep it")
	// ErrInvalid: a name, number or size is outside its limits.
	ErrInvalid = errors.New("invalid request to the host")
)

// Refused reports whether err means that a changing call had no effect.
// After any other error the outcome is unknown.
func Refused(err error) bool {
	for _, e := range []error{ErrNotFound, ErrExists, ErrConflict, ErrOffset, ErrNoSpace, ErrInUse, ErrFenced, ErrHeld, ErrInvalid} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

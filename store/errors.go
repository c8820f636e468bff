package store

import "errors"

// Opening a volume.
var (
	// ErrNoVolume: the host holds no volume at this place.
	ErrNoVolume = errors.New("no volume here")
	// ErrVersion: the volume's format version or cipher suite is not known to
	// this program.
	ErrVersion = errors.New("unsupported format")
	// ErrWrongKey: none of the volume's key slots opens with the given key.
	ErrWrongKey = errors.New("the key does not open this volume")
)

// Using a volume.
var (
	// ErrDamaged: stored bytes are missing or are not what was written,
	// whatever the cause.
	ErrDamaged = errors.New("damaged")
	// ErrAccounting: what is in use of a segment is not what the volume has on
	// record. It is a defect of the program, and no data is lost by it.
	ErrAccounting = errors.New("wrong accounting")
	// ErrFull: the volume's size limit is reached.
	ErrFull = errors.New("volume is full")
	// ErrReadOnly: the volume takes no more changes, because it was opened so
	// or because an earlier change could not be made certain. Reopen it.
	ErrReadOnly = errors.New("volume is read-only")
	// ErrClosed: the volume was closed.
	ErrClosed = errors.New("volume is closed")
	// ErrUnfinished: an earlier change of the volume's key has not come to its
	// end. Finish it first.
	ErrUnfinished = errors.New("a change of the volume's key is not finished")
	// ErrSnapshotName: this is no name for a snapshot.
	ErrSnapshotName = errors.New("not a name for a snapshot: it must be 1 to 255 printable characters without a slash, and not begin with a dot or a hyphen")
	// ErrSnapshotExists: there is a snapshot of that name.
	ErrSnapshotExists = errors.New("there is a snapshot of that name")
	// ErrNoSnapshot: there is no such snapshot.
	ErrNoSnapshot = errors.New("no such snapshot")
	// ErrSnapshots: the volume has as many snapshots as it may.
	ErrSnapshots = errors.New("too many snapshots")
	// ErrTooLarge: a value, or the changes of one Update, are over the limit.
	ErrTooLarge = errors.New("too large")
)

package store

import "errors"

// Opening a volume.
var (
	// ErrNoVolume: the host holds no volume at this place.
	ErrNoVolume = errors.New("no volume here")
	// ErrVersion: the volume's format version or cipher suite is not known to
	// this program.
	ErrVersion = errors.New("unsupported format")
	// ErrNewerKey: the volume goes with a later key than the given one, which opens
	// another slot. It comes with ErrWrongKey.
	ErrNewerKey = errors.New("the volume was brought under a later key")
	// ErrWrongKey: none of the volume's key slots opens with the given key.
	ErrWrongKey = errors.New("the key does not open this volume")
)

// Opening a volume that has an anchor, and using it.
var (
	// ErrRolledBack: the volume is an older state than its anchor has seen.
	ErrRolledBack = errors.New("the volume is older than its anchor knows")
	// ErrForked: the volume was opened and changed as two copies, and this is
	// not the one that its anchor goes with.
	ErrForked = errors.New("the volume went another way than its anchor knows")
	// ErrAnchorUnavailable: the anchor does not answer.
	ErrAnchorUnavailable = errors.New("the volume's anchor does not answer")
	// ErrAnchorFirstUse: neither the volume nor the anchor knows of the other.
	// Options.AdoptAnchor brings them together.
	ErrAnchorFirstUse = errors.New("the volume has no anchor yet")
	// ErrAnchorLost: the volume had this anchor, which knows nothing of it.
	ErrAnchorLost = errors.New("the anchor has lost what it knew of the volume")
	// ErrAnchorMissing: the volume has an anchor, and Options name none.
	ErrAnchorMissing = errors.New("the volume has an anchor, and none is configured")
	// ErrAnchorOther: what the anchor knows of the volume belongs to another
	// key, such as the one that it was migrated to.
	ErrAnchorOther = errors.New("the anchor keeps the volume for another key")

	// ErrAnchorEmpty: an Anchor has no state for a volume.
	ErrAnchorEmpty = errors.New("the anchor knows nothing of the volume")
	// ErrAnchorConflict: an Anchor has another state than the old one.
	ErrAnchorConflict = errors.New("the anchor has another state")
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
	// ErrSnapshotList: it is damaged which snapshots there are. The present state
	// can be read, nothing can be changed, and no snapshot be read. It is ErrDamaged
	// too.
	ErrSnapshotList = errors.New("the list of snapshots is damaged")
	// ErrTooLarge: a value, or the changes of one Update, are over the limit.
	ErrTooLarge = errors.New("too large")
)

// Recovering and salvaging.
var (
	// ErrAmbiguous: segments of several volumes lie there, all of which the
	// key opens. Say which one is meant.
	ErrAmbiguous = errors.New("more than one volume")
	// ErrNoRoot: no copy of the root that was asked for is left.
	ErrNoRoot = errors.New("no such root was found")
)

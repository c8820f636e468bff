// Package host is the untrusted side of a volume, as an interface.
//
// A host keeps two things for a volume: records, which are small named values
// replaced by compare-and-swap, and segments, which are append-only runs of
// sealed bytes. It holds no key and sees no plaintext.
//
// Nothing a host returns is trusted: the store verifies every byte, and treats
// sizes and lists as hints. What is written here is therefore what an honest
// host does; a dishonest one can refuse service and nothing more. Every
// implementation passes the one suite in store/host/hosttest.
//
// Imported by store and by whoever opens a volume. Imports nothing of ours.
package host

import "context"

// Limits that every implementation enforces, and that every caller keeps.
const (
	// MaxRecordSize is the largest value of a record, in bytes.
	MaxRecordSize = 64 << 10
	// MaxRecordName is the longest name of a record, in bytes. Names match
	// [a-z0-9][a-z0-9._-]*.
	MaxRecordName = 64
	// MaxSegmentSize is the largest capacity of a segment, in bytes.
	MaxSegmentSize = 64 << 20
	// MaxSegmentID is the largest number of a segment.
	MaxSegmentID = SegmentID(1<<48 - 1)
)

// SegmentID numbers a segment within its volume. The store chooses it.
type SegmentID uint64

// SegmentInfo is what a host says of one segment.
type SegmentInfo struct {
	ID SegmentID
	// Size is an upper bound of what was appended, in bytes: recycled space
	// may make it larger.
	Size int64
}

// Version names one state of a record. It is opaque and compared only for
// equality. The empty Version stands for "no such record".
type Version string

// Record is a small named value together with the state it was read in.
type Record struct {
	Value   []byte
	Version Version
}

// Reader is what can be asked of a volume by someone who does not write it.
// Its methods may be called at the same time.
type Reader interface {
	// Get returns the named record. ErrNotFound if there is none.
	Get(ctx context.Context, name string) (Record, error)

	// Read fills p from segment id at offset off. It returns the number of
	// bytes read, which is smaller than len(p) only together with an error:
	// io.ErrUnexpectedEOF where the segment ends before, ErrNotFound where
	// there is no such segment. Bytes that were never appended may read as
	// anything.
	Read(ctx context.Context, id SegmentID, off int64, p []byte) (int, error)

	// Segments lists all segments in any order.
	Segments(ctx context.Context) ([]SegmentInfo, error)
}

// Volume is a volume on a host.
type Volume interface {
	Reader

	// Acquire makes the caller the volume's only writer. While another
	// writer that is still alive holds it the error is ErrInUse, unless
	// o.Takeover is set: then the other one is fenced, and each of its later
	// changes fails with ErrFenced.
	Acquire(ctx context.Context, o AcquireOptions) (Writer, error)

	// Close lets go of what the implementation holds. It does not release
	// a writer.
	Close() error
}

// AcquireOptions say who acquires a volume, and how.
type AcquireOptions struct {
	// Owner is shown to whoever finds the volume in use. It is public.
	Owner string
	// Takeover fences the present writer instead of giving way to it.
	Takeover bool
}

// Writer changes a volume. Every method but Release fails with ErrFenced,
// without effect, once another writer took the volume over.
//
// An error for which Refused is true means that nothing happened. After any
// other error of a changing method it is unknown whether it took effect.
type Writer interface {
	Reader

	// Swap replaces the named record if it is still in state old, and
	// returns its new state; ErrConflict if it is not. An empty old means that
	// there must be no such record yet. On return the change is durable.
	Swap(ctx context.Context, name string, old Version, value []byte) (Version, error)

	// Create makes the empty segment id with room for capacity bytes,
	// and sets the room aside, so that appends within it do not run out of
	// space: ErrNoSpace comes from here. ErrExists if there is such a segment.
	Create(ctx context.Context, id SegmentID, capacity int64) error

	// Append writes p to segment id, which this writer created (ErrInvalid if
	// another one did), at offset off, which must be where the last append
	// ended; ErrOffset if it is not, or if p does not fit into the segment's
	// capacity. It is durable only after a Sync, and until then it may be known
	// to this writer alone, as may the segment's existence. p may be reused after
	// return.
	Append(ctx context.Context, id SegmentID, off int64, p []byte) error

	// Sync makes everything appended to these segments durable, by whichever
	// writer, and their existence too.
	Sync(ctx context.Context, ids ...SegmentID) error

	// Delete removes a segment. ErrNotFound if there is none. It may
	// survive a crash that follows at once.
	Delete(ctx context.Context, id SegmentID) error

	// Release gives the volume back; it is no error if that was taken over.
	// The writer must not be used afterwards.
	Release(ctx context.Context) error
}

// InProcess is what a Volume has whose implementation works on the machine's
// files in the caller's own process. An enclave must not use it in earnest: the
// machine could change what is mapped into memory while it is being parsed.
type InProcess interface {
	// InProcess does nothing.
	InProcess()
}

// Preparer is what a Writer has whose segments are quicker to append to when
// their room was written before. Volumes that are synced often ask for it.
type Preparer interface {
	// Prepare makes sure, as well as it can, that the next count segments of
	// that capacity are of that kind.
	Prepare(ctx context.Context, capacity int64, count int) error
}

// Forgetter is what a Writer has that keeps, for its own use, anything of segments
// that were deleted or of values that were replaced. A volume that gets another key
// has it let go of that. What an honest host does not keep a dishonest one may.
type Forgetter interface {
	// Forget makes sure that nothing is left where the host keeps the volume of
	// segments deleted and values replaced so far. On return that is durable. With
	// more it goes on so, over restarts too and for later writers, until a Forget
	// without: nothing of what is deleted is kept, nor found in the unwritten room of
	// a new segment. ErrHeld if there are points, which keep what was at them, or if a
	// transfer into the volume is under way: then all else is done, and goes on so.
	Forget(ctx context.Context, more bool) error
	// Forgetting reports whether a Forget with more was not followed by one without,
	// by whichever writer.
	Forgetting() bool
}

// AppendSyncer is what a Writer has that appends and syncs in one call, which is one
// round trip where a host is far away.
type AppendSyncer interface {
	// AppendSync is Append, and then Sync of the segments synced. After an error
	// that is no refusal it is unknown what of the two took effect.
	AppendSync(ctx context.Context, id SegmentID, off int64, p []byte, synced ...SegmentID) error
}

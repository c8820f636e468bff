// Package anchor keeps what a KDS remembers of volumes, so that an older copy
// of one is noticed: for each volume one small record, replaced by
// compare-and-swap.
//
// A Store keeps the records; Apply decides what a request does to one. It
// promises that a record only goes forward, that it is changed by the holders
// of its owner's key alone, and that a change is durable before it is answered.
// It refuses everything else, and says which of these it was.
//
// Imported by kds/server, cmd/coffer-kds and whoever keeps records elsewhere.
// Imports kds.
package anchor

import (
	"context"
	"errors"

	"github.com/coffer-fs/coffer/kds"
)

var (
	// ErrConflict: the record is not the old one any more. Nothing happened.
	ErrConflict = errors.New("anchor record was changed meanwhile")
	// ErrFull: the owner has as many records as it may, or the store has.
	// Nothing happened.
	ErrFull = errors.New("no room for another anchor record")
	// ErrDamaged: a stored record is not what was written.
	ErrDamaged = errors.New("anchor record is damaged")
	// ErrInUse: another process has the store.
	ErrInUse = errors.New("anchor records are in use by another process")
)

// MaxPerOwner is how many volumes one key spec may have records of.
const MaxPerOwner = 1024

// Owner is the hash of the spec that a record belongs to: kds.Spec.Hash.
type Owner [32]byte

// Record is what is remembered of a volume. The zero Record stands for none.
type Record struct {
	Owner Owner
	// Version grows by one with every change, from 1.
	Version uint64
	State   kds.AnchorState
}

// Store keeps records. Its methods may be called at the same time. Every store
// passes the suite in kds/anchor/anchortest.
type Store interface {
	// Get returns the record of a volume, the zero Record if there is none.
	// It is never older than what a Swap that has returned left.
	Get(ctx context.Context, v kds.VolumeID) (Record, error)

	// Swap replaces the record of a volume if it still is old; the zero Record
	// says that there must be none yet. When it returns, the change is durable.
	// ErrConflict and ErrFull mean that nothing happened; after any other error
	// that is unknown. ErrFull only if the owner of next has no more than
	// MaxPerOwner records, not counting this one.
	Swap(ctx context.Context, v kds.VolumeID, old, next Record) error
}

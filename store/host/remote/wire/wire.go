// Package wire is what client and server of the host protocol share: the names,
// limits and structures of docs/host-protocol.md, and nothing that acts.
//
// Imported by store/host/remote, which an enclave links, and by
// store/host/serve, which it does not. Imports store/host.
package wire

import (
	"time"

	"github.com/coffer-fs/coffer/store/host"
)

// Root begins every path.
const Root = "/v1/volumes/"

// Headers of requests and answers, in canonical form.
const (
	HeaderLease   = "Coffer-Lease"   // whose call it is: 64 hex digits
	HeaderRequest = "Coffer-Request" // which call it is: 16 hex digits
	HeaderSync    = "Coffer-Sync"    // of an append: segments to sync after it
	HeaderUse     = "Coffer-Use"     // which opened point it is about: 32 hex digits
	HeaderError   = "Coffer-Error"   // of an answer: one of the Code constants
	HeaderForget  = "Coffer-Forget"  // of answers to requests for a lease and to forget: see host.Forgetter
)

// ContentType is that of all bodies that are bytes.
const ContentType = "application/octet-stream"

// Limits that both sides keep.
const (
	// TokenSize is the size of a lease's token, in bytes.
	TokenSize = 32
	// MaxReason is how much is read of an answer that says what is wrong.
	MaxReason = 512
	// MaxOwner is the longest name of an owner, in bytes.
	MaxOwner = 128
	// MaxLeaseBody is the largest body of a request for a lease.
	MaxLeaseBody = 4 << 10
	// MaxStatus is the largest answer about a volume.
	MaxStatus = 4 << 10
	// MaxListed is how many segments a list may have.
	MaxListed = 1 << 18
	// MaxSynced is how many segments one request may sync.
	MaxSynced = 1 << 10
	// MaxSyncedInHeader is how many of them an append may name.
	MaxSyncedInHeader = 16
	// MaxVersion is the longest version of a record, in bytes.
	MaxVersion = 128
	// Ping is how often a writer shows that it is there. It is less than what
	// a server lets a connection idle.
	Ping = 10 * time.Second
)

// LeaseRequest is the body of a request for a lease.
type LeaseRequest struct {
	Owner    string `json:"owner"`
	Takeover bool   `json:"takeover"`
	Resume   bool   `json:"resume"`
}

// Status is what a server says of a volume.
type Status struct {
	SegmentBytes int64  `json:"segmentBytes"`
	SpareBytes   int64  `json:"spareBytes"`
	HeldBytes    int64  `json:"heldBytes"`
	CatalogBytes int64  `json:"catalogBytes"`
	FreeBytes    int64  `json:"freeBytes"`
	Held         bool   `json:"held"`
	Owner        string `json:"owner"`
}

// Codes of HeaderError.
const (
	CodeNotFound     = "not-found"
	CodeExists       = "exists"
	CodeConflict     = "conflict"
	CodeOffset       = "offset"
	CodeNoSpace      = "no-space"
	CodeInUse        = "in-use"
	CodeFenced       = "fenced"
	CodeInvalid      = "invalid"
	CodeHeld         = "held"
	CodeEnd          = "end"          // a read past the end of a segment
	CodeLost         = "lost"         // no such lease here: it may be resumed
	CodeBusy         = "busy"         // nothing happened, and it can be tried again
	CodeUnauthorized = "unauthorized" // no token, or a wrong one
	CodeFailed       = "failed"       // it is unknown what happened
)

// refusals pairs the host's errors with their codes.
var refusals = []struct {
	code string
	err  error
}{
	{CodeNotFound, host.ErrNotFound},
	{CodeExists, host.ErrExists},
	{CodeConflict, host.ErrConflict},
	{CodeOffset, host.ErrOffset},
	{CodeNoSpace, host.ErrNoSpace},
	{CodeInUse, host.ErrInUse},
	{CodeFenced, host.ErrFenced},
	{CodeHeld, host.ErrHeld},
	{CodeInvalid, host.ErrInvalid},
}

// Package audit is the record of what a KDS released and refused: lines, each
// chained to the one before it, in batches that the node signs.
//
//	{"entry":{"sequence":1,"time":"...","event":"released",...},"chain":"5f1c..."}
//	{"head":{"first":1,"last":1,"before":"0000...","chain":"5f1c..."},"key":"...","signature":"..."}
//
// The node makes the lines, the chain and the signatures; a Store, which is the
// host's and not trusted, keeps them: package bolt in a file, package remote in
// another process.
//
// It promises that Append returns only when the line is signed and its store
// says that it is on the disk, that lines written at the same time share one
// signature and one sync, and that a line that was changed, made up, removed or
// moved is found by Verify. While a node runs, a store that was set back stops it.
// Whole batches cut off the end while no node runs are not found by the log alone:
// the next line is then signed under a number that was signed before, so whoever
// kept a Head has the proof.
//
// An error of a store is final: the log refuses everything until the node is
// started again.
//
// Lock order: one mutex, held over no call of the store.
//
// Imported by kds/server, kds/cluster and cmd/coffer-kds. Imports kds/attest, key
// and internal helpers; never a store.
package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/coffer-fs/coffer/key"
)

// Limits of the log.
const (
	// MaxLineBytes is the longest line.
	MaxLineBytes = 64 << 10
	// MaxWaiting is how many lines may wait for one sync.
	MaxWaiting = 1024
	// MaxBatchBytes is the longest batch, with its head.
	MaxBatchBytes = 4 << 20
	// StoreTimeout is how long a store may take for one call.
	StoreTimeout = 10 * time.Second
)

const (
	chainLabel = "coffer/kds/v1/audit"
	headLabel  = "coffer/kds/v1/audit head"
)

// Store keeps batches. It is not trusted: what it returns is verified.
type Store interface {
	// Last returns the batch that was appended last, nil if there is none.
	Last(ctx context.Context) ([]byte, error)
	// Append adds a batch of lines, the first of which has the number first,
	// and returns when it is durable. ErrConflict if the one before it does
	// not end at first - 1.
	Append(ctx context.Context, first uint64, lines int, batch []byte) error
}

// Event says what happened.
type Event string

// The events.
const (
	// Started: a node opened the log.
	Started Event = "started"
	// Released: a key was given.
	Released Event = "released"
	// Refused: a key was not given to an enclave with valid evidence.
	Refused Event = "refused"
	// Ordered: the operator's orders are to be in force, or are at the start.
	Ordered Event = "ordered"
	// Anchored: a volume's anchor began, or was given to another key.
	Anchored Event = "anchored"
	// MasterKey: a generation of a master key began, arrived, became the
	// current one or ended on this node.
	MasterKey Event = "master key"
)

// Entry is one line. Sequence and Time are filled in by the log. No field ever
// holds a key.
type Entry struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
	Event    Event     `json:"event"`
	Reason   string    `json:"reason,omitempty"`
	Asker    *Asker    `json:"asker,omitempty"`
	Key      *Key      `json:"key,omitempty"`
	Orders   uint64    `json:"orders,omitempty"` // number of those in force
	Volume   string    `json:"volume,omitempty"` // whose anchor
}

// Asker is the enclave that asked.
type Asker struct {
	CodeHash        string `json:"codeHash"`
	Signer          string `json:"signer"`
	ProductID       uint16 `json:"productID"`
	RevocationLevel int32  `json:"revocationLevel"`
	Level           string `json:"level"`
	Mode            string `json:"mode"`
}

// Key names the key that was asked for.
type Key struct {
	SpecHash      string `json:"specHash"`
	Name          string `json:"name"`
	MasterKeyType string `json:"masterKeyType"`
	Policy        string `json:"policy"` // canonical
	Purpose       string `json:"purpose"`
	Generation    uint32 `json:"generation"`
	RequestHash   string `json:"requestHash"`
}

// line is how an entry stands in the file. The chain covers the entry's bytes
// as they stand there.
type line struct {
	Entry json.RawMessage `json:"entry"`
	Chain string          `json:"chain"`
}

// Chain is the hash of a line and of all before it. Before the first it is
// zero.
type Chain [sha256.Size]byte

// String is the chain value in hexadecimal.
func (c Chain) String() string { return hex.EncodeToString(c[:]) }

// MarshalText and UnmarshalText are for JSON.
func (c Chain) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (c *Chain) UnmarshalText(b []byte) error {
	if len(b) != 2*len(c) {
		return ErrDamaged
	}
	_, err := hex.Decode(c[:], b)
	return err
}

// next is SHA-256 over {label, chain, entry}, each behind its length.
func (c Chain) next(entry []byte) Chain { return sha256.Sum256(key.Info(chainLabel, c[:], entry)) }

// encode makes the line for e, without changing the log.
func encode(c Chain, e Entry) ([]byte, Chain, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // as the line itself: what is hashed is what is written
	if err := enc.Encode(e); err != nil {
		return nil, c, err
	}
	entry := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	next := c.next(entry)
	var text []byte
	text = append(text, `{"entry":`...)
	text = append(text, entry...)
	text = append(text, `,"chain":"`+next.String()+"\"}\n"...)
	if len(text) > MaxLineBytes {
		return nil, c, ErrTooLong
	}
	return text, next, nil
}

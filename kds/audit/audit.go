// Package audit is the record of what a KDS released and refused: JSON lines
// in one file, each chained to the one before it.
//
//	{"entry":{"sequence":1,"time":"...","event":"released",...},"chain":"5f1c..."}
//
// It promises that Append returns only when the line is on the disk, that lines
// written at the same time share one sync, and that a changed, removed or
// reordered line is found when the file is opened or verified. Cutting lines off
// the end is not found by the file alone: keep the last chain value elsewhere.
// An error of a write or a sync is final: the log refuses everything until the
// node is started again.
//
// A crash may leave a last line without its end. Nobody was answered on its
// strength; it is cut off on opening, and the next line says so.
//
// Lock order: one mutex, held over no file operation.
//
// Imported by kds/server and cmd/coffer-kds. Imports nothing of ours but
// internal helpers.
package audit

import (
	"bytes"
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
)

const chainLabel = "coffer/kds/v1/audit"

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
	// Ordered: the operator's orders were put in force.
	Ordered Event = "ordered"
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

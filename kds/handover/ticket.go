package handover

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/internal/strictjson"
	"github.com/coffer-fs/coffer/key"
)

// MaxTicketBytes is the longest signed ticket that is read.
const MaxTicketBytes = 16 << 10

const ticketLabel = "coffer/upgrade/v1/ticket"

// Ticket is an operator's leave to hand a volume over.
type Ticket struct {
	// Volume is the one to be handed over.
	Volume kds.VolumeID
	// CodeHash is that of the enclave that hands it over.
	CodeHash attest.Hash
	// Spec is whose enclaves get it, with the policy in canonical form.
	Spec kds.Spec
	// Expires is when the ticket ends, in whole seconds.
	Expires time.Time
}

// ticketJSON is a ticket as it is signed.
type ticketJSON struct {
	Volume   string      `json:"volume"` // 32 hexadecimal digits
	CodeHash attest.Hash `json:"codeHash"`
	Spec     kds.Spec    `json:"spec"`
	Expires  time.Time   `json:"expires"` // RFC 3339
}

// signedTicket is how a ticket is kept and sent. The signature covers the ticket's
// bytes as they stand there.
type signedTicket struct {
	Ticket    json.RawMessage `json:"ticket"`
	Key       []byte          `json:"key"` // the signer's public key; shown, never trusted
	Signature []byte          `json:"signature"`
}

// Sign checks a ticket and signs it. ErrTicket.
func Sign(t Ticket, k ed25519.PrivateKey) ([]byte, error) {
	t.Expires = t.Expires.UTC().Truncate(time.Second)
	if err := t.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(ticketJSON{hex.EncodeToString(t.Volume[:]), t.CodeHash, t.Spec, t.Expires})
	if err != nil {
		return nil, err
	}
	return json.Marshal(signedTicket{b, k.Public().(ed25519.PublicKey), ed25519.Sign(k, key.Info(ticketLabel, b))})
}

// ParseTicket reads a ticket that is signed with the private key of signer.
// ErrTicket.
func ParseTicket(b []byte, signer ed25519.PublicKey) (Ticket, error) {
	t, _, err := read(b, signer)
	return t, err
}

// ReadTicket reads a ticket that is signed, and says with whose key. Whether that
// is to be believed is the caller's to know. ErrTicket.
func ReadTicket(b []byte) (Ticket, ed25519.PublicKey, error) { return read(b, nil) }

// read demands the signature of signer, or of the key in the ticket if that is nil.
func read(b []byte, signer ed25519.PublicKey) (Ticket, ed25519.PublicKey, error) {
	var s signedTicket
	if len(b) > MaxTicketBytes {
		return Ticket{}, nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTicket, len(b), MaxTicketBytes)
	}
	// What is around the ticket is read loosely: the signature is over its bytes.
	if err := json.Unmarshal(b, &s); err != nil {
		return Ticket{}, nil, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	if signer == nil {
		signer = s.Key
	}
	if len(signer) != ed25519.PublicKeySize || !ed25519.Verify(signer, key.Info(ticketLabel, s.Ticket), s.Signature) {
		return Ticket{}, nil, fmt.Errorf("%w: its signature is not that of the ticket key", ErrTicket)
	}
	var j ticketJSON
	if err := strictjson.Unmarshal(s.Ticket, &j); err != nil {
		return Ticket{}, nil, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	t := Ticket{CodeHash: j.CodeHash, Spec: j.Spec, Expires: j.Expires}
	if n, err := hex.Decode(t.Volume[:], []byte(j.Volume[:min(len(j.Volume), 2*len(t.Volume))])); err != nil || n != len(t.Volume) || len(j.Volume) != 2*n {
		return Ticket{}, nil, fmt.Errorf("%w: volume is no volume ID", ErrTicket)
	}
	err := t.check() // before t is copied: it gives the code hash its form
	return t, signer, err
}

// check refuses a ticket with a missing or impossible part, and gives its code hash
// the one form that it is compared in.
func (t *Ticket) check() error {
	code, err := attest.ParseHash(string(t.CodeHash))
	if err != nil {
		return fmt.Errorf("%w: code hash: %w", ErrTicket, err)
	}
	t.CodeHash = code
	if err := t.Spec.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrTicket, err)
	}
	switch {
	case t.Volume == kds.VolumeID{}:
		return fmt.Errorf("%w: it names no volume", ErrTicket)
	case t.Spec.Name != kds.EnclavePersistence:
		return fmt.Errorf("%w: it names the key %q, and volumes are sealed with %q", ErrTicket, t.Spec.Name, kds.EnclavePersistence)
	case t.Expires.IsZero():
		return fmt.Errorf("%w: it never ends", ErrTicket)
	}
	return nil
}

// Admits refuses a ticket that does not let this enclave hand this volume over
// now. ErrExpired, ErrNotFor.
func (t Ticket) Admits(v kds.VolumeID, code attest.Hash, now time.Time) error {
	switch {
	case t.Volume != v:
		return fmt.Errorf("%w: volume %x, and this is %x", ErrNotFor, t.Volume, v)
	case t.CodeHash != code:
		return fmt.Errorf("%w: the enclave with code hash %s, and this is %s", ErrNotFor, t.CodeHash, code)
	case !now.Before(t.Expires):
		return fmt.Errorf("%w: on %s", ErrExpired, t.Expires.Format(time.RFC3339))
	}
	return nil
}

package handover

import (
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/internal/strictjson"
	"github.com/coffer-fs/coffer/key"
)

// MaxMessageBytes is the longest message that is read: it fits into a record of
// the volume's host.
const MaxMessageBytes = 64 << 10

const (
	messageLabel  = "coffer/upgrade/v1/handover"
	evidenceLabel = "coffer/upgrade/v1/handover evidence"
)

// Message is what one enclave hands over to another. It is public.
type Message struct {
	// Ticket is the signed ticket, as it stands.
	Ticket []byte `json:"ticket"`
	// Generation is that of the key pair that Sealed is for.
	Generation kds.Generation `json:"generation"`
	// Anchor is whose anchor key is in Sealed too, nil if the volume has no anchor
	// in a KDS.
	Anchor *AnchorOwner `json:"anchor,omitempty"`
	// Sealed is the secret, and the anchor key behind it, sealed by HPKE.
	Sealed []byte `json:"sealed"`
	// Evidence is the old enclave's, over all of it.
	Evidence attest.Evidence `json:"evidence"`
}

// AnchorOwner is the spec that the record of a volume's anchor belongs to.
type AnchorOwner struct {
	Spec       kds.Spec       `json:"spec"`
	Generation kds.Generation `json:"generation"`
}

// Secrets are what is handed over. Destroy them.
type Secrets struct {
	// Key opens the volume's slot for the handover.
	Key key.Key
	// Anchor is the anchor key of the old spec, zero if there is none.
	Anchor key.Key
}

// Destroy wipes both.
func (s Secrets) Destroy() {
	s.Key.Destroy()
	if !s.Anchor.IsZero() {
		s.Anchor.Destroy()
	}
}

// Seal makes the message that hands s over to the holders of to, the key pair of
// the ticket's spec for handovers. m says the rest; its Sealed and Evidence are
// made here.
func Seal(m Message, t Ticket, to hpke.PublicKey, s Secrets, p attest.Platform) (Message, error) {
	secret := append([]byte(nil), s.Key.Bytes()...)
	if m.Anchor != nil {
		secret = append(secret, s.Anchor.Bytes()...)
	}
	defer clear(secret)
	var err error
	if m.Sealed, err = hpke.Seal(to, hpke.HKDFSHA256(), hpke.AES256GCM(), m.info(t), secret); err != nil {
		return Message{}, fmt.Errorf("seal handover: %w", err)
	}
	if m.Evidence, err = p.Quote(m.reportData(t)); err != nil {
		return Message{}, fmt.Errorf("seal handover: %w: %w", kds.ErrPlatform, err)
	}
	return m, nil
}

// Encode is the message as it is kept. ErrMessage if it is too long.
func (m Message) Encode() ([]byte, error) {
	b, err := json.Marshal(m)
	if err == nil && len(b) > MaxMessageBytes {
		err = fmt.Errorf("%w: %d bytes, at most %d are kept", ErrMessage, len(b), MaxMessageBytes)
	}
	return b, err
}

// Decode reads a message, and believes nothing of it. ErrMessage.
func Decode(b []byte) (m Message, err error) {
	if len(b) > MaxMessageBytes {
		return m, fmt.Errorf("%w: %d bytes, at most %d are read", ErrMessage, len(b), MaxMessageBytes)
	}
	if err := strictjson.Unmarshal(b, &m); err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if len(m.Sealed) != m.sealedSize() || m.Generation == 0 {
		return Message{}, fmt.Errorf("%w: malformed", ErrMessage)
	}
	if m.Anchor != nil {
		if err := m.Anchor.Spec.Check(); err != nil || m.Anchor.Generation == 0 {
			return Message{}, fmt.Errorf("%w: malformed anchor", ErrMessage)
		}
	}
	return m, nil
}

// Taker is who a message is for.
type Taker struct {
	Volume    kds.VolumeID
	Spec      kds.Spec          // that he meets
	TicketKey ed25519.PublicKey // of his measured configuration
	Mode      attest.Mode       // he runs in
	Verifier  attest.Verifier
}

// Verify proves that the enclave which the ticket names made the message, by the
// operator's leave, for t. ErrTicket, ErrNotFor, ErrMessage.
//
// That the ticket's time is over by now is no matter: it was not when the other
// enclave looked.
func (m Message) Verify(ctx context.Context, t Taker) (Ticket, error) {
	ticket, err := ParseTicket(m.Ticket, t.TicketKey)
	if err != nil {
		return ticket, err
	}
	switch {
	case ticket.Volume != t.Volume:
		return ticket, fmt.Errorf("%w: volume %x, and this is %x", ErrNotFor, ticket.Volume, t.Volume)
	case !ticket.Spec.Equal(t.Spec):
		return ticket, fmt.Errorf("%w: the key spec %s, and this enclave's is %s", ErrNotFor, ticket.Spec, t.Spec)
	}
	report, err := t.Verifier.Verify(ctx, m.Evidence)
	if err != nil {
		return ticket, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	from := report.Identity
	switch {
	case report.ReportData != m.reportData(ticket):
		return ticket, fmt.Errorf("%w: its evidence is for something else", ErrMessage)
	case from.CodeHash != ticket.CodeHash:
		return ticket, fmt.Errorf("%w: the enclave with code hash %s made it, the ticket is for %s", ErrMessage, from.CodeHash, ticket.CodeHash)
	case t.Mode == attest.Release && (from.Mode != attest.Release || from.Level == attest.Insecure):
		return ticket, fmt.Errorf("%w: a %s enclave of level %s made it", ErrMessage, from.Mode, from.Level)
	}
	return ticket, nil
}

// Open gives what is handed over, with the private key of the ticket's spec. Verify
// must have come first. ErrMessage.
func (m Message) Open(ticket Ticket, sk hpke.PrivateKey) (Secrets, error) {
	b, err := hpke.Open(sk, hpke.HKDFSHA256(), hpke.AES256GCM(), m.info(ticket), m.Sealed)
	if err != nil {
		return Secrets{}, fmt.Errorf("%w: it does not open", ErrMessage)
	}
	defer clear(b)
	var s Secrets
	if s.Key, err = key.FromBytes(b[:key.Size]); err == nil && m.Anchor != nil {
		s.Anchor, err = key.FromBytes(b[key.Size:])
	}
	return s, err
}

// sealedSize is that of Sealed: an encapsulation, one or two keys, a tag.
func (m Message) sealedSize() int {
	if m.Anchor != nil {
		return kds.SealedKeySize + key.Size
	}
	return kds.SealedKeySize
}

// info is what Sealed is bound to.
func (m Message) info(t Ticket) []byte { return key.Info(messageLabel, m.parts(t)...) }

// reportData is what the old enclave vouches for.
func (m Message) reportData(t Ticket) attest.ReportData {
	return sha512.Sum512(key.Info(evidenceLabel, append(m.parts(t), m.Sealed)...))
}

// parts are the message but for what is made of them.
func (m Message) parts(t Ticket) [][]byte {
	ticket := sha256.Sum256(m.Ticket)
	parts := append([][]byte{t.Volume[:], ticket[:]}, names(t.Spec, m.Generation)...)
	if m.Anchor != nil {
		parts = append(parts, names(m.Anchor.Spec, m.Anchor.Generation)...)
	}
	return parts
}

// names say which key is meant.
func names(s kds.Spec, g kds.Generation) [][]byte {
	return [][]byte{[]byte(s.Name), []byte(s.MasterKeyType), []byte(s.PolicyConstraint.Canonical()), binary.BigEndian.AppendUint32(nil, uint32(g))}
}

package kds

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/key"
)

// VolumeID names a volume: the random bytes in its header.
type VolumeID [16]byte

// AnchorState is how far a volume has come, as its anchor remembers it. What
// it means is the volume's business (docs/format.md, "Anchor"); a KDS sees only
// that it goes forward.
type AnchorState struct {
	Epoch    uint64   // openings for writing
	Opening  [16]byte // random: which opening has the epoch
	Root     uint64
	Sequence uint64
	Hash     [32]byte
}

// AnchorStateSize is the length of an encoded state.
const AnchorStateSize = 8 + 16 + 8 + 8 + 32

// Append appends the encoded state (docs/protocol.md, "Anchor").
func (s AnchorState) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, s.Epoch)
	b = append(b, s.Opening[:]...)
	b = binary.BigEndian.AppendUint64(b, s.Root)
	b = binary.BigEndian.AppendUint64(b, s.Sequence)
	return append(b, s.Hash[:]...)
}

// ParseAnchorState decodes a state. ErrMalformed.
func ParseAnchorState(b []byte) (AnchorState, error) {
	if len(b) != AnchorStateSize {
		return AnchorState{}, fmt.Errorf("%w: an anchor's state has %d bytes, got %d", ErrMalformed, AnchorStateSize, len(b))
	}
	return AnchorState{
		Epoch:    binary.BigEndian.Uint64(b),
		Opening:  [16]byte(b[8:24]),
		Root:     binary.BigEndian.Uint64(b[24:]),
		Sequence: binary.BigEndian.Uint64(b[32:]),
		Hash:     [32]byte(b[40:]),
	}, nil
}

// Follows reports whether s may replace old: in another epoch it is a later
// one; within an epoch it is of the same opening, and goes forward. So no state
// ever comes back.
func (s AnchorState) Follows(old AnchorState) bool {
	if s.Epoch != old.Epoch {
		return s.Epoch > old.Epoch
	}
	return s.Opening == old.Opening && s.Root >= old.Root && s.Sequence >= old.Sequence && s != old
}

// AnchorOp says what an AnchorRequest asks for.
type AnchorOp string

// The requests.
const (
	// AnchorRead asks for the record.
	AnchorRead AnchorOp = "read"
	// AnchorAdvance replaces the state, and makes the record if there is none.
	AnchorAdvance AnchorOp = "advance"
	// AnchorMove gives the record to another spec.
	AnchorMove AnchorOp = "move"
)

// AnchorStatus says what came of a request.
type AnchorStatus string

// The outcomes of a request.
const (
	AnchorOK       AnchorStatus = "ok"       // done; version and state are those after it
	AnchorNone     AnchorStatus = "none"     // there is no record
	AnchorConflict AnchorStatus = "conflict" // not done: version and state are others than the asker believed
	AnchorOther    AnchorStatus = "other"    // not done: the record belongs to another spec
)

// AnchorRequest is the body of POST /anchor. Who has the spec's key for the
// purpose anchor may send it: no evidence is needed again.
type AnchorRequest struct {
	Spec       Spec       `json:"spec"`
	Generation Generation `json:"generation"`
	Volume     []byte     `json:"volume"`
	Op         AnchorOp   `json:"op"`
	// Version is that of the record to be replaced, 0 if there is none yet.
	Version uint64 `json:"version,omitempty"`
	// State is the new one. For advance only.
	State []byte `json:"state,omitempty"`
	// To is who gets the record. For move only.
	To *AnchorTo `json:"to,omitempty"`
	// Nonce is fresh for every request.
	Nonce []byte `json:"nonce"`
	MAC   []byte `json:"mac"`
}

// AnchorTo is the spec that gets a record, and shows that it wants it.
type AnchorTo struct {
	Spec       Spec       `json:"spec"`
	Generation Generation `json:"generation"`
	MAC        []byte     `json:"mac"`
}

// AnchorAnswer is the answer to it.
type AnchorAnswer struct {
	Status  AnchorStatus `json:"status"`
	Version uint64       `json:"version,omitempty"`
	State   []byte       `json:"state,omitempty"`
	MAC     []byte       `json:"mac"`
}

const anchorNonceSize = 32

// macBytes is what both MACs of a request are made over.
func (r AnchorRequest) macBytes() []byte {
	parts := append(names(r.Spec, Anchor, r.Generation), r.Volume, []byte(r.Op), binary.BigEndian.AppendUint64(nil, r.Version), r.State)
	if r.To != nil {
		parts = append(parts, names(r.To.Spec, Anchor, r.To.Generation)...)
	}
	return key.Info(anchorRequestLabel, append(parts, r.Nonce)...)
}

// Sign makes the MAC of a request, with the spec's anchor key.
func (r AnchorRequest) Sign(k key.Key) []byte { return anchorMAC(k, anchorRequestLabel, r.macBytes()) }

// SignedBy reports whether mac is that of the request under k.
func (r AnchorRequest) SignedBy(k key.Key, mac []byte) bool { return hmac.Equal(mac, r.Sign(k)) }

// macBytes is what the MAC of an answer is made over.
func (a AnchorAnswer) macBytes(r AnchorRequest) []byte {
	request := sha256.Sum256(r.macBytes())
	return key.Info(anchorAnswerLabel, request[:], []byte(a.Status), binary.BigEndian.AppendUint64(nil, a.Version), a.State)
}

// Sign makes the MAC of the answer to r, with the anchor key of r's spec.
func (a AnchorAnswer) Sign(k key.Key, r AnchorRequest) []byte {
	return anchorMAC(k, anchorAnswerLabel, a.macBytes(r))
}

// anchorMAC is HMAC-SHA256 under a key for one direction only.
func anchorMAC(k key.Key, label string, b []byte) []byte {
	d := k.Derive(nil, label)
	defer d.Destroy()
	m := hmac.New(sha256.New, d.Bytes())
	m.Write(b)
	return m.Sum(nil)
}

// DecodeAnchorRequest reads and checks the body of POST /anchor. The MACs are
// the caller's to check.
func DecodeAnchorRequest(b []byte) (r AnchorRequest, err error) {
	if err := unmarshal(b, MaxRequestBytes, &r); err != nil {
		return AnchorRequest{}, err
	}
	wants := map[AnchorOp]struct{ state, to bool }{AnchorRead: {}, AnchorAdvance: {state: true}, AnchorMove: {to: true}}
	want, known := wants[r.Op]
	switch {
	case !known:
		err = fmt.Errorf("%w: an anchor is asked to read, advance or move", ErrMalformed)
	case len(r.Volume) != len(VolumeID{}), len(r.Nonce) != anchorNonceSize, len(r.MAC) != sha256.Size:
		err = fmt.Errorf("%w: volume, nonce or MAC of the wrong size", ErrMalformed)
	case want.state != (len(r.State) == AnchorStateSize), !want.state && len(r.State) > 0, want.to != (r.To != nil):
		err = fmt.Errorf("%w: %s with too much or too little", ErrMalformed, r.Op)
	case r.Generation == 0, r.To != nil && r.To.Generation == 0:
		err = fmt.Errorf("%w: an anchor is asked with a key of a known generation", ErrMalformed)
	case r.To != nil && (len(r.To.MAC) != sha256.Size || r.To.Spec.Equal(r.Spec)):
		err = fmt.Errorf("%w: move to nobody else", ErrMalformed)
	}
	if err == nil && r.To != nil {
		err = r.To.Spec.Check()
	}
	return r, errors.Join(err, r.Spec.Check())
}

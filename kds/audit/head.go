package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/coffer-fs/coffer/key"
)

// Head is the end of a batch: that these lines, after all before them, are what
// the node wrote.
type Head struct {
	First  uint64 `json:"first"`  // number of the batch's first line
	Last   uint64 `json:"last"`   // number of its last line
	Before Chain  `json:"before"` // chain value before the first
	Chain  Chain  `json:"chain"`  // chain value of the last
}

// SignedHead is a Head and who says so.
type SignedHead struct {
	Head      Head
	Key       ed25519.PublicKey
	Signature []byte
}

// headText is how a signed head stands in the log.
type headText struct {
	Head      Head   `json:"head"`
	Key       string `json:"key"`
	Signature string `json:"signature"`
}

// signed is the list {label, first, last, before, chain}.
func (h Head) signed() []byte {
	return key.Info(headLabel, binary.BigEndian.AppendUint64(nil, h.First), binary.BigEndian.AppendUint64(nil, h.Last), h.Before[:], h.Chain[:])
}

func (h Head) sign(k ed25519.PrivateKey) SignedHead {
	return SignedHead{h, k.Public().(ed25519.PublicKey), ed25519.Sign(k, h.signed())}
}

// String is the head as it stands in the log, without the line's end.
func (s SignedHead) String() string {
	b, err := json.Marshal(headText{s.Head, hex.EncodeToString(s.Key), hex.EncodeToString(s.Signature)})
	if err != nil {
		panic("audit: " + err.Error()) // numbers and hexadecimal
	}
	return string(b)
}

// ParseHead reads a head as it stands in a log, and checks its signature.
func ParseHead(text []byte) (SignedHead, error) {
	var t headText
	text = bytes.TrimSuffix(text, []byte("\n"))
	if err := json.Unmarshal(text, &t); err != nil {
		return SignedHead{}, fmt.Errorf("%w: not a head", ErrDamaged)
	}
	k, err := hex.DecodeString(t.Key)
	if err != nil || len(k) != ed25519.PublicKeySize {
		return SignedHead{}, fmt.Errorf("%w: a head without a key", ErrDamaged)
	}
	sig, err := hex.DecodeString(t.Signature)
	s := SignedHead{t.Head, k, sig}
	if err != nil || s.String() != string(text) || !ed25519.Verify(s.Key, s.Head.signed(), sig) {
		return SignedHead{}, fmt.Errorf("%w: the signature of a head does not match", ErrDamaged)
	}
	return s, nil
}

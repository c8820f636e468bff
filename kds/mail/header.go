package mail

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/key"
)

const (
	magic        = "coffmail"
	prologueSize = 8 + 1 + 1 + 4
)

// Kind says what a mail is.
type Kind uint8

// The kinds. A number is never reused.
const (
	// LetterKind: from a client to the key of a spec.
	LetterKind Kind = 1
	// ReplyKind: from a holder of that key to the client.
	ReplyKind Kind = 2
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case LetterKind:
		return "letter"
	case ReplyKind:
		return "reply"
	}
	return fmt.Sprintf("unknown kind %d", uint8(k))
}

// ID tells letters apart. It is random.
type ID [16]byte

// String is the ID in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Header is the readable part of a mail. It is authentic in a Letter and in a
// Reply, and no more than a claim in what ReadHeader returns.
type Header struct {
	Kind     Kind
	ID       ID // of the letter; in a reply, of the letter that it answers
	Sequence uint64
	Topic    string
	Envelope []byte // of the application, for the host
	// Spec names the key that the letter is encrypted to; in a reply, the key
	// that its letter was encrypted to.
	Spec kds.Spec
	// Generation is that of Spec's key, 0 if the sender did not know it.
	Generation kds.Generation
	// Key is the public key that this mail is encrypted to.
	Key Fingerprint
}

// ReadHeader reads the header from the start of a mail, and no more. Nobody has
// vouched for it: good for deciding where a mail goes, not for what it means.
func ReadHeader(r io.Reader) (Header, error) {
	h, _, err := readHeader(r)
	return h, err
}

// readHeader also returns the bytes that it read.
func readHeader(r io.Reader) (Header, []byte, error) {
	raw := make([]byte, prologueSize)
	if err := readFull(r, raw); err != nil {
		return Header{}, nil, err
	}
	kind, size, err := parsePrologue(raw)
	if err != nil {
		return Header{}, nil, err
	}
	raw = append(raw, make([]byte, size)...)
	if err := readFull(r, raw[prologueSize:]); err != nil {
		return Header{}, nil, err
	}
	h, err := parseHeader(kind, raw[prologueSize:])
	return h, raw, err
}

func parsePrologue(b []byte) (k Kind, size uint32, err error) {
	k, size = Kind(b[9]), binary.BigEndian.Uint32(b[10:])
	switch {
	case string(b[:8]) != magic:
		return 0, 0, ErrNotMail
	case b[8] != Version:
		return 0, 0, fmt.Errorf("%w: %d, this is version %d", ErrVersion, b[8], Version)
	case k != LetterKind && k != ReplyKind:
		return 0, 0, fmt.Errorf("%w: %s", ErrKind, k)
	case size > MaxHeaderBytes:
		return 0, 0, fmt.Errorf("%w: header of %d bytes, at most %d are read", ErrDamaged, size, MaxHeaderBytes)
	}
	return k, size, nil
}

// encode is the header with its prologue.
func (h Header) encode() []byte {
	list := key.Info(headerLabel, h.ID[:], binary.BigEndian.AppendUint64(nil, h.Sequence), []byte(h.Topic), h.Envelope,
		[]byte(h.Spec.Name), []byte(h.Spec.MasterKeyType), []byte(h.Spec.PolicyConstraint.Canonical()),
		binary.BigEndian.AppendUint32(nil, uint32(h.Generation)), h.Key[:])
	b := append([]byte(magic), Version, byte(h.Kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
	return append(b, list...)
}

// parseHeader reads what encode writes, and nothing else.
func parseHeader(k Kind, b []byte) (Header, error) {
	p, err := parseList(b, headerLabel, 9)
	if err != nil {
		return Header{}, err
	}
	if len(p[0]) != len(ID{}) || len(p[1]) != 8 || len(p[7]) != 4 || len(p[8]) != len(Fingerprint{}) {
		return Header{}, fmt.Errorf("%w: a part of the header has another size", ErrDamaged)
	}
	who, err := policy.Parse(string(p[6]))
	if err != nil {
		return Header{}, fmt.Errorf("%w: policy of the key spec: %w", ErrDamaged, err)
	}
	if who.Canonical() != string(p[6]) {
		return Header{}, fmt.Errorf("%w: policy of the key spec is not in canonical form", ErrDamaged)
	}
	h := Header{Kind: k, ID: ID(p[0]), Sequence: binary.BigEndian.Uint64(p[1]), Topic: string(p[2]), Envelope: p[3],
		Spec:       kds.Spec{Name: string(p[4]), MasterKeyType: kds.MasterKeyType(p[5]), PolicyConstraint: who},
		Generation: kds.Generation(binary.BigEndian.Uint32(p[7])), Key: Fingerprint(p[8])}
	if err := h.check(); err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return h, nil
}

// check refuses what neither side may write.
func (h Header) check() error {
	if err := checkTopic(h.Topic); err != nil {
		return err
	}
	if len(h.Envelope) > MaxEnvelopeBytes {
		return fmt.Errorf("%w: envelope of %d bytes, at most %d", ErrLimit, len(h.Envelope), MaxEnvelopeBytes)
	}
	if h.Kind == ReplyKind && h.Sequence != 0 {
		return fmt.Errorf("a reply with sequence number %d", h.Sequence)
	}
	return h.Spec.Check()
}

func checkTopic(t string) error {
	if t == "" || len(t) > MaxTopicBytes {
		return fmt.Errorf("%w: it has %d bytes, must have 1 to %d", ErrTopic, len(t), MaxTopicBytes)
	}
	for _, c := range []byte(t) {
		if c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return fmt.Errorf("%w: %q has something else than letters, digits and '-'", ErrTopic, t)
		}
	}
	return nil
}

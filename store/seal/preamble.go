package seal

import (
	"encoding/binary"
	"fmt"
)

const (
	preambleMagic = "coffseg\x00"
	preambleFixed = 76
	// PreambleSize is the length of a preamble in bytes: the first frame of a
	// segment stands right behind it.
	PreambleSize = 4096
)

// Kind says what a segment is for.
type Kind uint8

// Kinds of segments. A number is never reused.
const (
	KindLog  Kind = 1 // batches: item changes and data frames
	KindNode Kind = 2 // tree nodes, table pages, copies of roots
)

func (k Kind) String() string {
	switch k {
	case KindLog:
		return "log"
	case KindNode:
		return "node"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Preamble opens every segment. It is public and never trusted: it exists so
// that a volume whose catalog is lost can be rebuilt from its segments.
type Preamble struct {
	Kind       Kind
	Volume     [16]byte
	Number     uint64
	Generation uint32
	Salt       [32]byte
	Header     []byte // the volume's header when the segment was made
}

// Encode returns the preamble, PreambleSize bytes.
func (p Preamble) Encode() []byte {
	b := make([]byte, 0, PreambleSize)
	b = append(b, preambleMagic...)
	b = binary.BigEndian.AppendUint16(b, FormatVersion)
	b = append(b, byte(p.Kind), byte(SuiteAESGCM))
	b = append(b, p.Volume[:]...)
	b = binary.BigEndian.AppendUint64(b, p.Number)
	b = binary.BigEndian.AppendUint32(b, p.Generation)
	b = append(b, p.Salt[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.Header)))
	b = append(b, p.Header...)
	return b[:cap(b)]
}

// ParsePreamble reads the preamble at the start of b. ErrDamaged, ErrVersion.
func ParsePreamble(b []byte) (Preamble, error) {
	if len(b) < preambleFixed || string(b[:8]) != preambleMagic {
		return Preamble{}, fmt.Errorf("segment preamble: %w", ErrDamaged)
	}
	if err := checkFormat("segment", binary.BigEndian.Uint16(b[8:]), Suite(b[11])); err != nil {
		return Preamble{}, err
	}
	p := Preamble{
		Kind:       Kind(b[10]),
		Volume:     [16]byte(b[12:28]),
		Number:     binary.BigEndian.Uint64(b[28:]),
		Generation: binary.BigEndian.Uint32(b[36:]),
		Salt:       [32]byte(b[40:72]),
	}
	size := binary.BigEndian.Uint32(b[72:])
	if size > MaxHeaderSize || int(size) > len(b)-preambleFixed {
		return Preamble{}, fmt.Errorf("segment preamble: header of %d bytes: %w", size, ErrDamaged)
	}
	p.Header = append([]byte(nil), b[preambleFixed:preambleFixed+int(size)]...)
	return p, nil
}

package point

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/coffer-fs/coffer/store/host"
)

// ErrToken: text is not a resume token.
var ErrToken = errors.New("not a resume token")

// Position is how far a transfer has come: its next byte is that of the manifest's
// segment of this index, at this offset. At the end the index is the count of segments.
type Position struct {
	Segment int
	Offset  int64
}

// Start is the position before anything was transferred.
func (m Manifest) Start() Position { return m.settle(Position{0, 0}) }

// End is the position when everything was.
func (m Manifest) End() Position { return Position{Segment: len(m.Segments)} }

// settle moves to the next byte that is to be transferred.
func (m Manifest) settle(p Position) Position {
	for ; p.Segment < len(m.Segments); p = (Position{Segment: p.Segment + 1}) {
		s := m.Segments[p.Segment]
		if p.Offset = max(p.Offset, s.From); p.Offset < s.Size {
			return p
		}
	}
	return m.End()
}

// After is the position behind n bytes at p, which lie in one segment.
func (m Manifest) After(p Position, n int64) Position {
	return m.settle(Position{p.Segment, p.Offset + n})
}

// Left is how many bytes the segment at p has from there on; 0 at the end.
func (m Manifest) Left(p Position) int64 {
	if p.Segment >= len(m.Segments) {
		return 0
	}
	return m.Segments[p.Segment].Size - p.Offset
}

// Has reports whether p is a position of m.
func (m Manifest) Has(p Position) bool {
	return p.Segment >= 0 && p.Segment <= len(m.Segments) && p.Offset >= 0 && m.settle(p) == p
}

// Before reports whether p comes before q.
func (p Position) Before(q Position) bool {
	return p.Segment < q.Segment || p.Segment == q.Segment && p.Offset < q.Offset
}

// Done is how many bytes were transferred at p.
func (m Manifest) Done(p Position) (n int64) {
	for _, s := range m.Segments[:p.Segment] {
		n += s.Size - s.From
	}
	if p.Segment < len(m.Segments) {
		n += p.Offset - m.Segments[p.Segment].From
	}
	return n
}

// Token says where a transfer that was cut off goes on.
type Token struct {
	ID, Since host.PointID
	Manifest  [sha256.Size]byte // of its bytes
	At        Position
}

const (
	tokenPrefix = "coffer1-"
	tokenSize   = 16 + 16 + sha256.Size + 4 + 4 + 4
)

// Token is that of a position in m.
func (m Manifest) Token(at Position) Token {
	return Token{m.ID, m.Since, sha256.Sum256(m.Append(nil)), at}
}

// String is the token as people carry it: one word.
func (t Token) String() string {
	b := append(append(append([]byte(nil), t.ID[:]...), t.Since[:]...), t.Manifest[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(t.At.Segment))
	b = binary.BigEndian.AppendUint32(b, uint32(t.At.Offset))
	b = binary.BigEndian.AppendUint32(b, Checksum(b))
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseToken is the inverse of Token.String.
func ParseToken(s string) (t Token, err error) {
	text, ok := strings.CutPrefix(s, tokenPrefix)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(b) != tokenSize || Checksum(b[:tokenSize-4]) != binary.BigEndian.Uint32(b[tokenSize-4:]) {
		return t, fmt.Errorf("%.20q: %w", s, ErrToken)
	}
	r := &reader{b: b}
	copy(t.ID[:], r.take(16))
	copy(t.Since[:], r.take(16))
	copy(t.Manifest[:], r.take(sha256.Size))
	t.At = Position{int(r.u32()), int64(r.u32())}
	return t, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is CRC-32C, which tells damage by accident, and only that.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// UpdateChecksum is Checksum over several pieces: it begins with 0 and goes on with the last result.
func UpdateChecksum(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

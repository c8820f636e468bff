// Package key holds secrets.
//
// A Key is 32 bytes that no verb prints, no encoder writes and no comparison
// leaks. It promises that every use of a secret goes through Derive with a
// label of its own, so that no two roles ever share a key; the table of labels
// stands in docs/format.md and docs/protocol.md. It refuses secrets of any
// other length.
//
// It is a leaf: store and kds, which never import each other, both use it.
package key

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
)

// Size is the length of every Key in bytes.
const Size = 32

// ErrSize is returned for a secret that is not Size bytes long.
var ErrSize = errors.New("key: a key has 32 bytes")

const redacted = "[key redacted]"

// Key is a 256-bit secret. The zero Key is no key: deriving from it panics,
// because that is always a bug and never a matter of input.
//
// Copies share one buffer, so Destroy on any copy destroys them all.
type Key struct{ b *[Size]byte }

// New returns a fresh random key.
func New() Key {
	k := Key{new([Size]byte)}
	rand.Read(k.b[:]) // never fails: the runtime aborts instead
	return k
}

// FromBytes copies b, which must be Size bytes long, into a new key. The
// caller still owns b, and should clear it.
func FromBytes(b []byte) (Key, error) {
	if len(b) != Size {
		return Key{}, fmt.Errorf("%w, got %d", ErrSize, len(b))
	}
	k := Key{new([Size]byte)}
	copy(k.b[:], b)
	return k, nil
}

// IsZero reports whether k is no key at all.
func (k Key) IsZero() bool { return k.b == nil }

// Bytes returns the secret itself, not a copy: for handing to a cipher, never
// for keeping.
func (k Key) Bytes() []byte {
	if k.b == nil {
		panic("key: use of the zero key")
	}
	return k.b[:]
}

// Derive returns the key for one use of k: HKDF-SHA256 (RFC 5869) with the
// given salt (nil for none) and, as info, label and parts, each behind its
// length as 32 bits big-endian, so that no two lists of parts give one info.
func (k Key) Derive(salt []byte, label string, parts ...[]byte) Key {
	out, err := hkdf.Key(sha256.New, k.Bytes(), salt, string(Info(label, parts...)), Size)
	if err != nil {
		panic("key: derive: " + err.Error()) // only for outputs over 8160 bytes
	}
	d := Key{new([Size]byte)}
	copy(d.b[:], out)
	clear(out)
	return d
}

// Info encodes label and parts without ambiguity: each is preceded by its
// length as 32 bits big-endian.
func Info(label string, parts ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(label)))
	b = append(b, label...)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// Equal compares in constant time. Two zero keys are not equal.
func (k Key) Equal(o Key) bool {
	return k.b != nil && o.b != nil && subtle.ConstantTimeCompare(k.b[:], o.b[:]) == 1
}

// Destroy overwrites the secret. The key, and every copy of it, must not be
// used afterwards.
func (k Key) Destroy() {
	if k.b != nil {
		clear(k.b[:])
	}
}

// String implements fmt.Stringer without the secret.
func (k Key) String() string { return redacted }

// Format implements fmt.Formatter, so that no verb reaches the bytes.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer without the secret.
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler by refusing.
func (k Key) MarshalText() ([]byte, error) {
	return nil, errors.New("key: a key is never encoded")
}

// MarshalBinary implements encoding.BinaryMarshaler by refusing.
func (k Key) MarshalBinary() ([]byte, error) { return k.MarshalText() }

// Package seal knows the bytes of a volume that are not items: the header with
// its key slots, the preamble of a segment, sealed frames, and the envelope of
// a root. docs/format.md has the tables; where code and tables disagree, the
// code is wrong.
//
// It promises that no (key, nonce) pair is used twice as long as its caller
// never seals twice at one offset of one segment, and that every parser checks
// all lengths before it looks at contents. It does no input or output.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/key"
)

// FormatVersion is the one format version this package reads and writes.
// Versions only grow, and a number is never reused.
const FormatVersion = 1

// Suite names the algorithms of a volume.
type Suite uint8

// SuiteAESGCM is AES-256-GCM with 16-byte tags, and HKDF-SHA256. There is no
// suite that does not encrypt.
const SuiteAESGCM Suite = 1

func (s Suite) String() string {
	if s == SuiteAESGCM {
		return "AES-256-GCM/HKDF-SHA256"
	}
	return fmt.Sprintf("suite %d", uint8(s))
}

// TagSize is what sealing adds to a plaintext, in bytes.
const TagSize = 16

// SectorSize is the unit in which storage is assumed to be written whole, in
// bytes: what was acknowledged never shares a sector with what comes later.
const SectorSize = 512

// Errors of this package. They are wrapped with what was being read.
var (
	// ErrVersion: a format version or suite this program does not know.
	ErrVersion = errors.New("unsupported format")
	// ErrDamaged: bytes that are not what was written.
	ErrDamaged = errors.New("damaged")
	// ErrWrongKey: the key does not belong to the slot.
	ErrWrongKey = errors.New("wrong key")
	// ErrLimit: something to be written is over a limit of the format.
	ErrLimit = errors.New("over a limit of the format")
)

// newAEAD returns AES-256-GCM under k.
func newAEAD(k key.Key) cipher.AEAD {
	block, err := aes.NewCipher(k.Bytes())
	if err != nil {
		panic("seal: " + err.Error()) // only for a key of the wrong size
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("seal: " + err.Error()) // only for a cipher of the wrong block size
	}
	return aead
}

// checkFormat refuses a version or a suite by name.
func checkFormat(what string, version uint16, suite Suite) error {
	if version != FormatVersion {
		return fmt.Errorf("%s has format version %d, this program knows %d: %w", what, version, FormatVersion, ErrVersion)
	}
	if suite != SuiteAESGCM {
		return fmt.Errorf("%s has cipher suite %d, this program knows %d (%v): %w", what, suite, SuiteAESGCM, SuiteAESGCM, ErrVersion)
	}
	return nil
}

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

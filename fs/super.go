package fs

import (
	"crypto/rand"
	"encoding/binary"

	"github.com/coffer-fs/coffer/store"
)

// formatVersion of the filesystem's items. It only grows.
const formatVersion = 1

const superSize = 1 + 16 + 8 + 8

// super is the superblock item.
type super struct {
	hashKey [16]byte // for the hashes of names
	nextIno Ino
	inodes  uint64 // in use
}

func newSuper() super {
	s := super{nextIno: RootIno + 1, inodes: 1}
	rand.Read(s.hashKey[:])
	return s
}

func (s super) encode() []byte {
	b := append(make([]byte, 0, superSize), formatVersion)
	b = append(b, s.hashKey[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.nextIno))
	return binary.BigEndian.AppendUint64(b, s.inodes)
}

func parseSuper(b []byte) (super, error) {
	if len(b) != superSize || b[0] != formatVersion {
		return super{}, damaged("superblock of %d bytes", len(b))
	}
	return super{
		hashKey: [16]byte(b[1:17]),
		nextIno: Ino(binary.BigEndian.Uint64(b[17:])),
		inodes:  binary.BigEndian.Uint64(b[25:]),
	}, nil
}

func getSuper(tx *store.Tx) (super, error) {
	b, ok, err := tx.Get(superKey)
	if err != nil {
		return super{}, err
	}
	if !ok {
		return super{}, ErrNoFilesystem
	}
	return parseSuper(b)
}

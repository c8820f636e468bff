package mail

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"github.com/coffer-fs/coffer/key"
)

// Sizes of a chunk: plaintext, the size of its data before them, sealed.
const (
	chunkSize   = 64 << 10
	chunkPrefix = 4
	sealedChunk = chunkSize + 16
)

// chunks seals or opens the chunks of one mail in order.
type chunks struct {
	aead  cipher.AEAD
	count uint64
}

// newChunks is for a key that no other mail has. It destroys the key.
func newChunks(k key.Key) (chunks, error) {
	defer k.Destroy()
	block, err := aes.NewCipher(k.Bytes())
	if err != nil {
		return chunks{}, err
	}
	aead, err := cipher.NewGCM(block)
	return chunks{aead: aead}, err
}

// exportKey takes a key from either end of HPKE.
func exportKey(export func(string, int) ([]byte, error), label string) (key.Key, error) {
	b, err := export(label, key.Size)
	if err != nil {
		return key.Key{}, err
	}
	defer clear(b)
	return key.FromBytes(b)
}

// nonce is that of the next chunk: its number as 88 bits, then whether it is the
// last. So a chunk opens at its own place only, and the end is the sender's.
func (c *chunks) nonce(last bool) ([]byte, error) {
	if c.count == MaxChunks {
		return nil, fmt.Errorf("%w: at most %d chunks", ErrLimit, uint64(MaxChunks))
	}
	n := make([]byte, 12)
	binary.BigEndian.PutUint64(n[3:], c.count)
	if last {
		n[11] = 1
	}
	c.count++
	return n, nil
}

package mail

import (
	"io"

	"github.com/coffer-fs/coffer/key"
)

// Labels are all of them.
var Labels = []string{headerLabel, fingerprintLabel, letterLabel, replyLabel, senderLabel, bodyLabel, replyBodyLabel,
	signingLabel, replyKeyLabel, replySecretLabel}

// SealBody writes the chunks of a body under a key, which it destroys.
func SealBody(w io.Writer, k key.Key, body io.Reader, minSize int64) error {
	return SealBodyAfter(w, k, 0, body, minSize)
}

// SealBodyAfter is SealBody after so many chunks.
func SealBodyAfter(w io.Writer, k key.Key, count uint64, body io.Reader, minSize int64) error {
	c, err := newChunks(k)
	if err != nil {
		return err
	}
	c.count = count
	return sealBody(w, c, body, func(int64) int64 { return minSize })
}

// OpenBody reads them.
func OpenBody(r io.Reader, k key.Key) (io.Reader, error) {
	c, err := newChunks(k)
	if err != nil {
		return nil, err
	}
	return openBody(r, c)
}

// SealChunks seals chunks as they are, right or wrong.
func SealChunks(k key.Key, plain ...[]byte) []byte {
	c, err := newChunks(k)
	if err != nil {
		panic(err)
	}
	var b []byte
	for i, p := range plain {
		nonce, err := c.nonce(i == len(plain)-1)
		if err != nil {
			panic(err)
		}
		b = c.aead.Seal(b, nonce, p, nil)
	}
	return b
}

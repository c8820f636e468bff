package mail

import (
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/binary"
	"fmt"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/key"
)

// head is the sealed start of a letter.
type head struct {
	sender            ed25519.PublicKey
	replyKey          hpke.PublicKey
	replySecret       key.Key
	privateHeaderSize uint16
}

// newHead is what a sender tells those who hold a key.
func newHead(from Identity, h Header, privateHeaderSize int) (head, error) {
	reply, err := from.replyKey()
	if err != nil {
		return head{}, err
	}
	return head{from.PublicKey(), reply.PublicKey(), from.replySecret(h.ID, h.Key), uint16(privateHeaderSize)}, nil
}

// encode signs the head for one letter: for its header, which names the key that
// it goes to, and its encapsulation, of which only the sender and the holders of
// that key know the secret.
func (h head) encode(from Identity, header, enc []byte) []byte {
	b := append([]byte(nil), h.sender...)
	b = append(b, ed25519.Sign(from.signing(), h.signed(header, enc))...)
	b = append(b, h.replyKey.Bytes()...)
	b = append(b, h.replySecret.Bytes()...)
	return binary.BigEndian.AppendUint16(b, h.privateHeaderSize)
}

func (h head) signed(header, enc []byte) []byte {
	return key.Info(senderLabel, header, enc, h.replyKey.Bytes(), h.replySecret.Bytes(),
		binary.BigEndian.AppendUint16(nil, h.privateHeaderSize))
}

// parseHead reads and verifies what encode wrote.
func parseHead(b, header, enc []byte) (head, error) {
	if len(b) != headSize-16 {
		return head{}, fmt.Errorf("%w: head of %d bytes", ErrDamaged, len(b))
	}
	sender, signature, rest := b[:32], b[32:96], b[96:]
	reply, err := kds.ParsePublicKey(rest[:kds.PublicKeySize])
	if err != nil {
		return head{}, fmt.Errorf("%w: reply key: %w", ErrDamaged, err)
	}
	rest = rest[kds.PublicKeySize:]
	secret, err := key.FromBytes(rest[:key.Size])
	if err != nil {
		return head{}, fmt.Errorf("%w: reply secret: %w", ErrDamaged, err)
	}
	h := head{append(ed25519.PublicKey(nil), sender...), reply, secret, binary.BigEndian.Uint16(rest[key.Size:])}
	if !ed25519.Verify(h.sender, h.signed(header, enc), signature) {
		return head{}, ErrSender
	}
	return h, nil
}

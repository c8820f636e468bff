package mail

import (
	"bufio"
	"context"
	"crypto/hpke"
	"errors"
	"fmt"
	"io"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/key"
)

// Reply is an answer that was opened. All but what Body has still to give is
// verified.
type Reply struct {
	Header // ID is that of the letter
	// Body is as in Letter.
	Body io.Reader
}

// Publisher gives the public keys of specs. A *kds.Client is one.
type Publisher interface {
	Publish(context.Context, kds.Spec, kds.Purpose, kds.Generation) (kds.Published, error)
}

// OpenReply opens an answer to a letter that me posted to the key from. Nothing
// need be kept of the letter: who holds the secret of me can open all answers.
// An answer by anybody else is damage.
func OpenReply(r io.Reader, me Identity, from hpke.PublicKey) (*Reply, error) {
	reply, err := openReply(r, me, func(a answer) (*body, error) { return a.open(from) })
	if err != nil {
		return nil, fmt.Errorf("open reply: %w", err)
	}
	return reply, nil
}

// OpenReplyFrom is OpenReply by who does not know the key any more: keys has
// that of the spec that the reply names. If the reply names no generation and is
// not from the current key, older ones are tried, MaxOlderGenerations of them.
//
// Which spec and generation are named is no more than a hint: a reply from a key
// that me posted no letter with this ID to does not open.
func OpenReplyFrom(ctx context.Context, r io.Reader, me Identity, keys Publisher) (*Reply, error) {
	reply, err := openReply(r, me, func(a answer) (*body, error) { return a.openFrom(ctx, keys) })
	if err != nil {
		return nil, fmt.Errorf("open reply: %w", err)
	}
	return reply, nil
}

// answer is a reply of which all is read but the chunks.
type answer struct {
	me     Identity
	header Header
	secret *hpke.Recipient
	rest   *bufio.Reader // from the first chunk on
}

// openReply reads a reply up to its chunks, which chunks opens.
func openReply(r io.Reader, me Identity, chunks func(answer) (*body, error)) (*Reply, error) {
	if me.seed.IsZero() {
		return nil, fmt.Errorf("%w: there is no identity", ErrPostOffice)
	}
	h, raw, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	if h.Kind != ReplyKind {
		return nil, fmt.Errorf("%w: it is a %s", ErrKind, h.Kind)
	}
	sk, err := me.replyKey()
	if err != nil {
		return nil, err
	}
	if err := checkKey(sk, h); err != nil {
		return nil, err
	}
	enc := make([]byte, encSize)
	if err := readFull(r, enc); err != nil {
		return nil, err
	}
	in, err := hpke.NewRecipient(enc, sk, hpke.HKDFSHA256(), hpke.AES256GCM(), key.Info(replyLabel, raw))
	if err != nil {
		return nil, fmt.Errorf("%w: encapsulation", ErrDamaged)
	}
	b, err := chunks(answer{me, h, in, bufio.NewReaderSize(r, sealedChunk+1)})
	if err != nil {
		return nil, err
	}
	return &Reply{Header: h, Body: b}, nil
}

// open takes the answer to be from a holder of one key. If it is not, nothing of
// the rest is consumed.
func (a answer) open(from hpke.PublicKey) (*body, error) {
	if from == nil {
		return nil, fmt.Errorf("%w: there is no key of the one who answers", ErrPostOffice)
	}
	if _, err := kds.ParsePublicKey(from.Bytes()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPostOffice, err)
	}
	secret := a.me.replySecret(a.header.ID, FingerprintOf(from))
	defer secret.Destroy()
	c, err := replyChunks(a.secret.Export, secret)
	if err != nil {
		return nil, err
	}
	return openBody(a.rest, c)
}

// openFrom tries the keys that it can be from.
func (a answer) openFrom(ctx context.Context, keys Publisher) (*body, error) {
	g := a.header.Generation
	for older := 0; ; older++ {
		from, err := keys.Publish(ctx, a.header.Spec, kds.Mail, g)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
		}
		b, err := a.open(from.Key)
		last := a.header.Generation != 0 || from.Generation <= 1 || older == MaxOlderGenerations
		if !errors.Is(err, ErrDamaged) || last {
			return b, err
		}
		g = from.Generation - 1
	}
}

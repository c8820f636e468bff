package mail

import (
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"fmt"
	"io"

	"github.com/coffer-fs/coffer/key"
)

// Letter is a letter that was opened. All but what Body has still to give is
// verified.
type Letter struct {
	Header
	// Sender posted the letter.
	Sender ed25519.PublicKey
	// PrivateHeader is the sealed part of the header.
	PrivateHeader []byte
	// Body gives what was posted. It ends in io.EOF if and only if that is all;
	// any other error means that what it gave is only a beginning.
	Body io.Reader

	head head
}

// Open opens a letter with the key of the spec that it names. It reads r to its
// end while Body is read; whatever follows a letter is damage.
//
//  1. read the header
//  2. get the key of its spec
//  3. open the head, which proves the header
//  4. verify the sender
//  5. open the first chunk, read the private header
func Open(ctx context.Context, r io.Reader, keys KeySource) (*Letter, error) {
	fail := func(err error) (*Letter, error) { return nil, fmt.Errorf("open letter: %w", err) }
	h, raw, err := readHeader(r)
	if err != nil {
		return fail(err)
	}
	if h.Kind != LetterKind {
		return fail(fmt.Errorf("%w: it is a %s", ErrKind, h.Kind))
	}
	sk, err := keyFor(ctx, keys, h)
	if err != nil {
		return fail(err)
	}
	head, c, err := openHead(r, sk, raw)
	if err != nil {
		return fail(err)
	}
	b, err := openBody(r, c)
	if err != nil {
		return fail(err)
	}
	private := make([]byte, head.privateHeaderSize)
	if err := readFull(b, private); err != nil {
		return fail(err)
	}
	return &Letter{Header: h, Sender: head.sender, PrivateHeader: private, Body: b, head: head}, nil
}

func openHead(r io.Reader, sk hpke.PrivateKey, header []byte) (head, chunks, error) {
	b := make([]byte, encSize+headSize)
	if err := readFull(r, b); err != nil {
		return head{}, chunks{}, err
	}
	enc, sealed := b[:encSize], b[encSize:]
	in, err := hpke.NewRecipient(enc, sk, hpke.HKDFSHA256(), hpke.AES256GCM(), key.Info(letterLabel, header))
	if err != nil {
		return head{}, chunks{}, fmt.Errorf("%w: encapsulation", ErrDamaged)
	}
	plain, err := in.Open(nil, sealed)
	if err != nil {
		return head{}, chunks{}, fmt.Errorf("%w: head", ErrDamaged)
	}
	defer clear(plain)
	h, err := parseHead(plain, header, enc)
	if err != nil {
		return head{}, chunks{}, err
	}
	k, err := exportKey(in.Export, bodyLabel)
	if err != nil {
		return head{}, chunks{}, err
	}
	c, err := newChunks(k)
	return h, c, err
}

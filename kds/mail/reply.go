package mail

import (
	"crypto/hpke"
	"fmt"
	"io"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/key"
)

// ReplyOptions of one reply. The zero value is right.
type ReplyOptions struct {
	// Envelope is read by everybody, and changed by nobody. At most
	// MaxEnvelopeBytes.
	Envelope []byte
	// Size hides how large the reply is. Default nil: its size shows.
	Size SizePolicy
}

// Reply writes an answer to the sender of l, with everything in body, to w. A
// letter may be answered any number of times, and before its body is read. After
// an error w holds the start of a reply, which nobody will accept.
func (l *Letter) Reply(w io.Writer, body io.Reader, opts ReplyOptions) error {
	fail := func(err error) error { return fmt.Errorf("post reply: %w", err) }
	h := Header{Kind: ReplyKind, ID: l.ID, Topic: l.Topic, Envelope: opts.Envelope,
		Spec: l.Spec, Generation: l.Generation, Key: FingerprintOf(l.head.replyKey)}
	if err := h.check(); err != nil {
		return fail(err)
	}
	raw := h.encode()
	enc, s, err := hpke.NewSender(l.head.replyKey, hpke.HKDFSHA256(), hpke.AES256GCM(), key.Info(replyLabel, raw))
	if err != nil {
		return fail(err)
	}
	c, err := replyChunks(s.Export, l.head.replySecret)
	if err != nil {
		return fail(err)
	}
	if _, err := w.Write(append(raw, enc...)); err != nil {
		return fail(err)
	}
	minSize := func(size int64) int64 { return 0 }
	if opts.Size != nil {
		minSize = opts.Size.MinSize
	}
	if err := sealBody(w, c, body, minSize); err != nil {
		return fail(err)
	}
	return nil
}

// Reply is an answer that was opened. All but what Body has still to give is
// verified.
type Reply struct {
	Header // ID is that of the letter
	// Body is as in Letter.
	Body io.Reader
}

// OpenReply opens an answer to a letter that me posted to the key from. Nothing
// need be kept of the letter: who holds the secret of me can open all answers.
// An answer by anybody else is damage.
func OpenReply(r io.Reader, me Identity, from hpke.PublicKey) (*Reply, error) {
	fail := func(err error) (*Reply, error) { return nil, fmt.Errorf("open reply: %w", err) }
	if err := checkReplyKeys(me, from); err != nil {
		return fail(err)
	}
	h, raw, err := readHeader(r)
	if err != nil {
		return fail(err)
	}
	if h.Kind != ReplyKind {
		return fail(fmt.Errorf("%w: it is a %s", ErrKind, h.Kind))
	}
	sk, err := me.replyKey()
	if err != nil {
		return fail(err)
	}
	if err := checkKey(sk, h); err != nil {
		return fail(err)
	}
	c, err := openReplyChunks(r, sk, raw, me.replySecret(h.ID, FingerprintOf(from)))
	if err != nil {
		return fail(err)
	}
	b, err := openBody(r, c)
	if err != nil {
		return fail(err)
	}
	return &Reply{Header: h, Body: b}, nil
}

func checkReplyKeys(me Identity, from hpke.PublicKey) error {
	if me.seed.IsZero() || from == nil {
		return fmt.Errorf("%w: no identity or no key of the one who answers", ErrPostOffice)
	}
	if _, err := kds.ParsePublicKey(from.Bytes()); err != nil {
		return fmt.Errorf("%w: %w", ErrPostOffice, err)
	}
	return nil
}

func openReplyChunks(r io.Reader, sk hpke.PrivateKey, header []byte, secret key.Key) (chunks, error) {
	defer secret.Destroy()
	enc := make([]byte, encSize)
	if err := readFull(r, enc); err != nil {
		return chunks{}, err
	}
	in, err := hpke.NewRecipient(enc, sk, hpke.HKDFSHA256(), hpke.AES256GCM(), key.Info(replyLabel, header))
	if err != nil {
		return chunks{}, fmt.Errorf("%w: encapsulation", ErrDamaged)
	}
	return replyChunks(in.Export, secret)
}

// replyChunks need both secrets: the exported one, which the letter's sender
// alone can read, and the one in the letter, which proves who answers.
func replyChunks(export func(string, int) ([]byte, error), secret key.Key) (chunks, error) {
	k, err := exportKey(export, replyBodyLabel)
	if err != nil {
		return chunks{}, err
	}
	defer k.Destroy()
	return newChunks(k.Derive(secret.Bytes(), replyBodyLabel))
}

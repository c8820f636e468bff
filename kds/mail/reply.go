package mail

import (
	"crypto/hpke"
	"fmt"
	"io"

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

package mail

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"fmt"
	"io"
	"sync"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/key"
)

// PostOffice posts letters of one sender about one topic to one key. Several may
// have the same sender and topic and different keys.
type PostOffice struct {
	// From is the sender. Required; a sender nobody knows is NewIdentity().
	From Identity
	// To names the key. Required.
	To kds.Spec
	// Key is To's public key, from kds.Client.Public(ctx, To, kds.Mail).
	// Required. Whoever chose it reads the letters: it must not come from the
	// host, unless a kds.Client verified it.
	Key hpke.PublicKey
	// Generation is Key's, as kds.Client.Publish tells it. Default 0: those who
	// open the letters find it out, if it is one of the newest; see Keys.
	Generation kds.Generation
	// Topic is 1 to 255 letters, digits and '-'. Default DefaultTopic.
	Topic string
	// Size hides how large letters are. Default a MovingAverage.
	Size SizePolicy

	mu      sync.Mutex
	posted  uint64        // the next sequence number
	average MovingAverage // if there is no Size
}

// Options of one letter. The zero value is right.
type Options struct {
	// Envelope is read by everybody, and changed by nobody. At most
	// MaxEnvelopeBytes.
	Envelope []byte
	// PrivateHeader is read by those who read the body, before it. At most
	// MaxPrivateHeaderBytes.
	PrivateHeader []byte
}

// Post writes a letter with everything in body to w, and returns its header.
// After an error w holds the start of a letter, which nobody will accept.
//
//  1. check everything, take the next sequence number
//  2. write the header
//  3. encapsulate a secret to the key
//  4. seal who the sender is
//  5. seal private header and body, in chunks
func (o *PostOffice) Post(w io.Writer, body io.Reader, opts Options) (Header, error) {
	fail := func(err error) (Header, error) { return Header{}, fmt.Errorf("post letter: %w", err) }
	pk, err := o.check(opts)
	if err != nil {
		return fail(err)
	}
	h := o.header(pk, opts)
	if err := h.check(); err != nil {
		return fail(err)
	}
	raw := h.encode()
	enc, s, err := hpke.NewSender(pk, hpke.HKDFSHA256(), hpke.AES256GCM(), key.Info(letterLabel, raw))
	if err != nil {
		return fail(err)
	}
	if err := o.writeHead(w, h, raw, enc, s, len(opts.PrivateHeader)); err != nil {
		return fail(err)
	}
	k, err := exportKey(s.Export, bodyLabel)
	if err != nil {
		return fail(err)
	}
	c, err := newChunks(k)
	if err != nil {
		return fail(err)
	}
	if err := sealBody(w, c, io.MultiReader(bytes.NewReader(opts.PrivateHeader), body), o.minSize); err != nil {
		return fail(err)
	}
	return h, nil
}

// check finds what is missing before anything is written.
func (o *PostOffice) check(opts Options) (hpke.PublicKey, error) {
	if o.From.seed.IsZero() {
		return nil, fmt.Errorf("%w: it has no sender", ErrPostOffice)
	}
	if o.Key == nil {
		return nil, fmt.Errorf("%w: it has no key", ErrPostOffice)
	}
	if err := o.To.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPostOffice, err)
	}
	if n := len(opts.PrivateHeader); n > MaxPrivateHeaderBytes {
		return nil, fmt.Errorf("%w: private header of %d bytes, at most %d", ErrLimit, n, MaxPrivateHeaderBytes)
	}
	pk, err := kds.ParsePublicKey(o.Key.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPostOffice, err)
	}
	return pk, nil
}

func (o *PostOffice) header(pk hpke.PublicKey, opts Options) Header {
	h := Header{Kind: LetterKind, Sequence: o.next(), Topic: o.Topic, Envelope: opts.Envelope,
		Spec: o.To, Generation: o.Generation, Key: FingerprintOf(pk)}
	rand.Read(h.ID[:]) // never fails: the runtime aborts instead
	if h.Topic == "" {
		h.Topic = DefaultTopic
	}
	return h
}

func (o *PostOffice) writeHead(w io.Writer, h Header, raw, enc []byte, s *hpke.Sender, privateHeaderSize int) error {
	head, err := newHead(o.From, h, privateHeaderSize)
	if err != nil {
		return err
	}
	defer head.replySecret.Destroy()
	sealed, err := s.Seal(nil, head.encode(o.From, raw, enc))
	if err != nil {
		return err
	}
	_, err = w.Write(bytes.Join([][]byte{raw, enc, sealed}, nil))
	return err
}

func (o *PostOffice) next() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.posted++
	return o.posted - 1
}

func (o *PostOffice) minSize(size int64) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.Size == nil {
		return o.average.MinSize(size)
	}
	return o.Size.MinSize(size)
}

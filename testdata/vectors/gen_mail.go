//go:build ignore

// This program made mail.json. It knows the section Mail of docs/protocol.md
// and the standard library, and nothing of coffer's code: what it writes is a
// second opinion. Encapsulations are random, so each run makes other bytes; the
// file is golden all the same: if a test disagrees with it, the code is wrong.
//
//	go run gen_mail.go
package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
)

// vector is one mail, and what comes of opening it.
type vector struct {
	Name     string `json:"name"`
	Hunts    string `json:"hunts"` // the bug
	Kind     string `json:"kind"`
	Want     string `json:"want"`     // ok, or a class of error
	Seed     string `json:"seed"`     // of the key of the spec
	Identity string `json:"identity"` // secret of the client
	Mail     string `json:"mail"`

	Sender        string `json:"sender,omitempty"` // of letters that open
	Sequence      uint64 `json:"sequence,omitempty"`
	Generation    uint32 `json:"generation,omitempty"`
	Topic         string `json:"topic,omitempty"`
	Envelope      string `json:"envelope,omitempty"`
	PrivateHeader string `json:"privateHeader,omitempty"`
	Body          string `json:"body,omitempty"` // what is given out, even if the rest is refused
}

// stream is the SHA-256 of all chunks of a body.
type stream struct {
	Key    string `json:"key"`
	Size   int    `json:"size"`   // of the body: byte i is i mod 251
	Padded int    `json:"padded"` // size that it is padded to, 0 for none
	Bytes  int    `json:"bytes"`  // of all chunks
	SHA256 string `json:"sha256"`
}

const policy = "S:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB PROD:1 SEC:INSECURE"

var (
	specSeed = bytes.Repeat([]byte{0x44}, 32)
	identity = bytes.Repeat([]byte{0x55}, 32)
)

func u16(n int) []byte    { return []byte{byte(n >> 8), byte(n)} }
func u32(n int) []byte    { return append(u16(n>>16), u16(n)...) }
func u64(n uint64) []byte { return append(u32(int(n>>32)), u32(int(uint32(n)))...) }

func list(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(append(b, u32(len(p))...), p...)
	}
	return b
}

func labelled(label string, parts ...[]byte) []byte {
	return append(list([]byte(label)), list(parts...)...)
}

// hkdf is RFC 5869 with SHA-256 and 32 bytes of output.
func hkdf(secret, salt, info []byte) []byte {
	if salt == nil {
		salt = make([]byte, 32)
	}
	extract := hmac.New(sha256.New, salt)
	extract.Write(secret)
	expand := hmac.New(sha256.New, extract.Sum(nil))
	expand.Write(info)
	expand.Write([]byte{1})
	return expand.Sum(nil)
}

func xwing(seed []byte) hpke.PrivateKey { return must(hpke.MLKEM768X25519().NewPrivateKey(seed)) }

func fingerprint(pk []byte) []byte {
	h := sha256.Sum256(labelled("coffer/mail/v1/public key", pk))
	return h[:]
}

// mail is a mail and its parts, each of which a defect may replace.
type mail struct {
	kind, version          byte
	magic                  string
	header                 [][]byte
	headerLabel            string
	headerSize             int // if not 0, a lie
	recipient, replyTo     hpke.PublicKey
	signer                 ed25519.PrivateKey
	claims                 []byte // sender's key, if not the signer's
	privateSize            int
	chunks                 [][]byte // plaintext, the last one last
	lastFlags              []byte   // if not nil
	tail                   []byte
	replySecret            []byte
	signedHeader, boundRaw func([]byte) []byte
}

func same(b []byte) []byte { return b }

// letter is one without a defect: body "hello" after private header "pp".
func letter() *mail {
	spec, reply := xwing(specSeed).PublicKey(), xwing(hkdf(identity, nil, labelled("coffer/mail/v1/identity/x-wing"))).PublicKey()
	id, f := bytes.Repeat([]byte{0x66}, 16), fingerprint(spec.Bytes())
	m := &mail{kind: 1, version: 1, magic: "coffmail", headerLabel: "coffer/mail/v1/header", recipient: spec, replyTo: reply,
		signer:      ed25519.NewKeyFromSeed(hkdf(identity, nil, labelled("coffer/mail/v1/identity/ed25519"))),
		privateSize: 2, chunks: [][]byte{chunk("pphello", 0)}, signedHeader: same, boundRaw: same,
		replySecret: hkdf(identity, nil, labelled("coffer/mail/v1/identity/reply secret", id, f))}
	m.header = [][]byte{id, u64(7), []byte("some-topic-1"), []byte("to the host"), []byte("mail"), []byte("development"), []byte(policy), u32(3), f}
	return m
}

// reply is an answer to it: body "hello".
func reply() *mail {
	m := letter()
	m.kind, m.chunks, m.recipient = 2, [][]byte{chunk("hello", 0)}, m.replyTo
	m.header[1], m.header[8] = u64(0), fingerprint(m.replyTo.Bytes())
	return m
}

func chunk(data string, pad int) []byte {
	return append(append(u32(len(data)), data...), make([]byte, pad)...)
}

func seal(key []byte, chunks [][]byte, lastFlags []byte) []byte {
	gcm := must(cipher.NewGCM(must(aes.NewCipher(key))))
	var b []byte
	for i, c := range chunks {
		nonce := append(make([]byte, 3), u64(uint64(i))...)
		last := byte(0)
		if i == len(chunks)-1 {
			last = 1
		}
		if lastFlags != nil {
			last = lastFlags[i]
		}
		b = append(b, gcm.Seal(nil, append(nonce, last), c, nil)...)
	}
	return b
}

func (m *mail) bytes() []byte {
	h := labelled(m.headerLabel, m.header...)
	size := len(h)
	if m.headerSize != 0 {
		size = m.headerSize
	}
	raw := append(append([]byte(m.magic), m.version, m.kind), append(u32(size), h...)...)
	label := "coffer/mail/v1/letter"
	if m.kind == 2 {
		label = "coffer/mail/v1/reply"
	}
	enc, s, err := hpke.NewSender(m.recipient, hpke.HKDFSHA256(), hpke.AES256GCM(), labelled(label, m.boundRaw(raw)))
	if err != nil {
		panic(err)
	}
	b := append(bytes.Clone(raw), enc...)
	if m.kind == 2 {
		k := must(s.Export("coffer/mail/v1/reply body", 32))
		k = hkdf(k, m.replySecret, labelled("coffer/mail/v1/reply body"))
		return append(append(b, seal(k, m.chunks, m.lastFlags)...), m.tail...)
	}
	signed := labelled("coffer/mail/v1/sender", m.signedHeader(raw), enc, m.replyTo.Bytes(), m.replySecret, u16(m.privateSize))
	sender := []byte(m.signer.Public().(ed25519.PublicKey))
	if m.claims != nil {
		sender = m.claims
	}
	head := bytes.Join([][]byte{sender, ed25519.Sign(m.signer, signed), m.replyTo.Bytes(), m.replySecret, u16(m.privateSize)}, nil)
	b = append(b, must(s.Seal(nil, head))...)
	return append(append(b, seal(must(s.Export("coffer/mail/v1/body", 32)), m.chunks, m.lastFlags)...), m.tail...)
}

func main() {
	var all []vector
	add := func(name, hunts, want, body string, m *mail) {
		v := vector{Name: name, Hunts: hunts, Kind: "letter", Want: want, Seed: hex.EncodeToString(specSeed),
			Identity: hex.EncodeToString(identity), Mail: hex.EncodeToString(m.bytes()), Body: body}
		if m.kind == 2 {
			v.Kind = "reply"
		}
		if want == "ok" {
			v.Topic, v.Envelope, v.Generation = string(m.header[2]), string(m.header[3]), 3
			if m.kind == 1 {
				v.Sequence, v.PrivateHeader = 7, "pp"[:m.privateSize]
				v.Sender = hex.EncodeToString(m.signer.Public().(ed25519.PublicKey))
			}
		}
		all = append(all, v)
	}
	with := func(make func() *mail, change func(*mail)) *mail { m := make(); change(m); return m }
	part := func(i int, b []byte) func(*mail) { return func(m *mail) { m.header[i] = b } }
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x77}, 32))

	add("letter", "another format", "ok", "hello", letter())
	add("letter: padded", "padding given out", "ok", "hello", with(letter, func(m *mail) { m.chunks[0] = chunk("pphello", 93) }))
	add("letter: empty", "bodies that must not be empty", "ok", "", with(letter, func(m *mail) { m.privateSize, m.chunks[0] = 0, chunk("", 0) }))
	add("reply", "another format", "ok", "hello", reply())

	add("magic", "other files taken for mail", "not-mail", "", with(letter, func(m *mail) { m.magic = "coffhead" }))
	add("version 0", "versions below the first", "version", "", with(letter, func(m *mail) { m.version = 0 }))
	add("version 2", "versions to come", "version", "", with(letter, func(m *mail) { m.version = 2 }))
	add("kind 0", "no kind", "kind", "", with(letter, func(m *mail) { m.kind = 0 }))
	add("kind 3", "kinds to come", "kind", "", with(letter, func(m *mail) { m.kind = 3 }))
	add("header too large", "allocating what a host says", "damaged", "", with(letter, func(m *mail) { m.headerSize = 80<<10 + 1 }))
	add("header label", "lists for something else", "damaged", "", with(letter, func(m *mail) { m.headerLabel = "coffer/mail/v1/headex" }))
	add("header: a part more", "what nobody reads", "damaged", "", with(letter, func(m *mail) { m.header = append(m.header, nil) }))
	add("header: a part less", "reading past the end", "damaged", "", with(letter, func(m *mail) { m.header = m.header[:8] }))
	add("ID of 15 bytes", "sizes not checked", "damaged", "", with(letter, part(0, make([]byte, 15))))
	add("sequence of 7 bytes", "sizes not checked", "damaged", "", with(letter, part(1, make([]byte, 7))))
	add("generation of 5 bytes", "sizes not checked", "damaged", "", with(letter, part(7, make([]byte, 5))))
	add("fingerprint of 31 bytes", "sizes not checked", "damaged", "", with(letter, part(8, make([]byte, 31))))
	add("no topic", "the rule for topics", "damaged", "", with(letter, part(2, nil)))
	add("topic with a slash", "the rule for topics", "damaged", "", with(letter, part(2, []byte("a/b"))))
	add("topic of 256 bytes", "the rule for topics", "damaged", "", with(letter, part(2, bytes.Repeat([]byte("a"), 256))))
	add("no name", "specs not checked", "damaged", "", with(letter, part(4, nil)))
	add("master key type", "specs not checked", "damaged", "", with(letter, part(5, []byte("other"))))
	add("policy not canonical", "two texts for one key", "damaged", "", with(letter, part(6, []byte("S:"+strings.ToLower(policy[2:66])+policy[66:]))))
	add("policy that does not parse", "specs not checked", "damaged", "", with(letter, part(6, []byte("SEC:STALE"))))
	add("fingerprint of another key", "opening with whatever key is there", "other-key", "", with(letter, part(8, make([]byte, 32))))
	add("header not in info", "headers that are not bound", "damaged", "", with(letter, func(m *mail) { m.boundRaw = func(b []byte) []byte { return b[:14] } }))

	add("signature over another header", "letters sent on to others", "sender", "", with(letter, func(m *mail) {
		m.signedHeader = func(b []byte) []byte { c := bytes.Clone(b); c[len(c)-1] ^= 1; return c }
	}))
	add("sender is another", "senders not verified", "sender", "", with(letter, func(m *mail) { m.claims = other.Public().(ed25519.PublicKey) }))
	add("private header past the end", "sizes not checked", "damaged", "", with(letter, func(m *mail) { m.privateSize = 8 }))

	add("last chunk not marked", "truncation", "damaged", "", with(letter, func(m *mail) { m.lastFlags = []byte{0} }))
	add("short chunk that is not the last", "truncation", "damaged", "", with(letter, func(m *mail) { m.chunks = append(m.chunks, chunk("more", 0)) }))
	add("a byte behind the end", "extension", "damaged", "", with(letter, func(m *mail) { m.tail = []byte{0} }))
	add("no chunk", "truncation", "damaged", "", with(letter, func(m *mail) { m.chunks = nil }))
	add("chunk of 3 bytes", "reading past the end", "damaged", "", with(letter, func(m *mail) { m.chunks[0] = make([]byte, 3) }))
	add("data past the chunk", "reading past the end", "damaged", "", with(letter, func(m *mail) { m.chunks[0] = append(u32(8), "pphello"...) }))
	add("data of 4 GiB", "sizes that overflow", "damaged", "", with(letter, func(m *mail) { m.chunks[0] = append(u32(0xffffffff), "pphello"...) }))
	add("padding not zero", "what nobody reads", "damaged", "", with(letter, func(m *mail) { m.chunks[0] = append(chunk("pphello", 9), 1) }))

	add("reply: sequence 1", "replies with a sequence number", "damaged", "", with(reply, part(1, u64(1))))
	add("reply: by somebody else", "replies that are not authenticated", "damaged", "", with(reply, func(m *mail) { m.replySecret = make([]byte, 32) }))
	add("reply: to another letter", "replies moved to other letters", "damaged", "", with(reply, part(0, make([]byte, 16))))
	add("reply: to somebody else", "opening with whatever key is there", "other-key", "", with(reply, part(8, make([]byte, 32))))
	add("reply: a byte behind the end", "extension", "damaged", "", with(reply, func(m *mail) { m.tail = []byte{0} }))

	var streams []stream
	for _, s := range [][2]int{{0, 0}, {1, 0}, {65531, 0}, {65532, 0}, {65533, 0}, {131064, 0}, {0, 1}, {10, 65532}, {10, 65533}, {65532, 65533}, {65533, 200000}} {
		streams = append(streams, makeStream(s[0], s[1]))
	}
	b := must(json.MarshalIndent(map[string]any{"mail": all, "streams": streams}, "", "\t"))
	if err := os.WriteFile("mail.json", append(b, '\n'), 0o644); err != nil {
		panic(err)
	}
}

// makeStream cuts data and padding into chunks of 65532 bytes.
func makeStream(size, padded int) stream {
	const most = 65532
	total := max(size, padded)
	all := make([]byte, total)
	for i := range size {
		all[i] = byte(i % 251)
	}
	var chunks [][]byte
	for at := 0; at < total || len(chunks) == 0; at += most {
		end := min(at+most, total)
		data := max(0, min(size, end)-at)
		chunks = append(chunks, append(u32(data), all[at:end]...))
	}
	sealed := seal(specSeed, chunks, nil)
	h := sha256.Sum256(sealed)
	return stream{hex.EncodeToString(specSeed), size, padded, len(sealed), hex.EncodeToString(h[:])}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

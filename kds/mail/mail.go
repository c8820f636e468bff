// Package mail sends letters to enclaves that the sender has never seen.
//
// A client encrypts to a key spec. Any enclave that meets the spec's policy gets
// the key from a KDS and opens the letter: after a restart, on another machine,
// in any number of instances. It answers to the key that the letter brought.
//
//	PostOffice.Post ──► letter ──► Open ──► Letter.Reply ──► reply ──► OpenReply
//	                      └──► ReadHeader, for the host that passes it on
//
// It promises that
//
//   - only holders of the spec's key read a letter, and only its sender reads a
//     reply;
//   - Letter.Sender posted this letter, to this very key, and a reply comes from
//     a holder of the key that its letter went to;
//   - the header, envelope included, is readable by all and changed by nobody;
//   - a body of any size passes in bounded memory, none of it is given out
//     before the chunk that it came in is verified, and io.EOF is said only at
//     the sender's own end.
//
// It does not promise order, or that a letter comes once: sequence numbers are
// there for the application and are never checked, because any instance may take
// any letter. Letter.ID tells a letter that came twice. All who hold a spec's key
// are one party: each of them could change the body of a letter that was sent
// to it, and answer it. Sizes show, but for what a SizePolicy hides.
//
// It refuses other versions, headers that are not as Post writes them, every
// changed, missing, moved or added byte, and whatever is beyond its limits. The
// bytes are tables in docs/protocol.md, section Mail.
//
// Imported by applications and by cmd/coffer. Imports key, kds,
// kds/policy and kds/internal/secretfile.
// PostOffice and Keys may be used by several goroutines; each has one lock, held
// for no call to the outside but that of a SizePolicy. A Letter and a Reply
// belong to one goroutine.
package mail

import "github.com/coffer-fs/coffer/kds"

// Version is the only version of the format.
const Version = 1

// DefaultTopic is the topic of letters that name none.
const DefaultTopic = "default"

// Limits of a mail.
const (
	// MaxTopicBytes is the longest topic.
	MaxTopicBytes = 255
	// MaxEnvelopeBytes is the largest envelope.
	MaxEnvelopeBytes = 1<<16 - 1
	// MaxPrivateHeaderBytes is the largest private header.
	MaxPrivateHeaderBytes = 1<<16 - 1
	// MaxHeaderBytes is the largest header that is read.
	MaxHeaderBytes = 80 << 10
	// MaxPaddedBytes is the size up to which mail is padded, whatever a
	// SizePolicy says.
	MaxPaddedBytes = 16 << 20
	// ChunkBytes is how much of a body one chunk holds.
	ChunkBytes = chunkSize - chunkPrefix
	// MaxChunks is how many chunks a mail may have: 256 TiB.
	MaxChunks = 1 << 32
	// MaxCachedKeys is how many keys Keys may keep.
	MaxCachedKeys = 1024
	// DefaultCachedKeys is how many it keeps.
	DefaultCachedKeys = 64
	// MaxOlderGenerations is how many generations before the current one Keys
	// tries for a letter that does not say its key's.
	MaxOlderGenerations = 3
)

// The labels of this package. None is ever used for anything else.
const (
	headerLabel      = "coffer/mail/v1/header"
	fingerprintLabel = "coffer/mail/v1/public key"
	letterLabel      = "coffer/mail/v1/letter"
	replyLabel       = "coffer/mail/v1/reply"
	senderLabel      = "coffer/mail/v1/sender"
	bodyLabel        = "coffer/mail/v1/body"
	replyBodyLabel   = "coffer/mail/v1/reply body"
	signingLabel     = "coffer/mail/v1/identity/ed25519"
	replyKeyLabel    = "coffer/mail/v1/identity/x-wing"
	replySecretLabel = "coffer/mail/v1/identity/reply secret"
)

// encSize is the size of an encapsulation of X-Wing.
const encSize = 1120

// headSize is the size of the sealed head of a letter: sender, signature, reply
// key, reply secret, size of the private header, tag.
const headSize = 32 + 64 + kds.PublicKeySize + 32 + 2 + 16

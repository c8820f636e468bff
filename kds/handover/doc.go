// Package handover passes the key of a volume from an enclave to the next build
// of it, where the volume's spec is bound to a code hash that the next build can
// never have (docs/protocol.md, "Handover").
//
// The old enclave seals a fresh secret, which opens a key slot of the volume, to
// the public key of the new spec, and vouches for that by its own evidence. It
// does so for a Ticket only: an operator's signed leave to hand this one volume,
// from this one code hash, to that one spec. The new enclave gets the private key
// by its own attestation, and believes nothing that it can't verify.
//
// It promises that the secret is for enclaves of the ticket's spec alone; and
// that whoever takes a message up knows that the enclave named in the ticket
// sealed it: the public key is anybody's, and without evidence the host could
// make up a whole volume and hand it over. Evidence of anything but a release
// enclave counts for whoever is none himself.
//
// Imported by package coffer and cmd/coffer. Imports kds, kds/attest, kds/internal
// and key; never store.
package handover

import "errors"

var (
	// ErrTicket: the ticket is malformed, or not signed with the key that the
	// measured configuration names.
	ErrTicket = errors.New("upgrade ticket is not valid")
	// ErrExpired: the ticket's time is over.
	ErrExpired = errors.New("upgrade ticket has expired")
	// ErrNotFor: the ticket is for another volume, enclave or spec.
	ErrNotFor = errors.New("upgrade ticket is for something else")
	// ErrMessage: what was handed over is malformed, was changed, or is not from
	// the enclave that the ticket names.
	ErrMessage = errors.New("handover is not valid")
)

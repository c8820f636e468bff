// Package pkcs11 wraps master keys by a key in an HSM that speaks PKCS #11: a
// wrapped.KEK.
//
// The key is AES-256, made in the HSM or before, and never leaves it. It wraps by
// AES-GCM, in the HSM, with the record's public part as AAD. Why not RSA-OAEP,
// which every HSM has: an RSA key wraps for everybody who knows its public half,
// so whoever owns the node's disk could put in a master key that he chose. Why not
// AES key wrap: it cannot bind a record to its service and generation. HSMs that
// do AES-GCM only with nonces of their own are refused by their own error.
//
// It promises that a key is used only if the HSM says that it is secret and stays
// in it, and if its label is no other's; that the PIN is read from a file of its
// owner, and is in no message; and that the session with the HSM ends with Close.
// What it cannot promise is in docs/threat-model.md: the HSM asks for a PIN, not
// for evidence, so whoever has the PIN can unwrap too.
//
// It needs cgo and the build tag pkcs11, because it loads the HSM's module into the
// process; without them Open says so. Imported by cmd/coffer-kds.
package pkcs11

import "errors"

var (
	// ErrBuilt: the program is built without PKCS #11.
	ErrBuilt = errors.New("this program is built without PKCS #11: build it with cgo and -tags pkcs11")
	// ErrOptions: something that Open needs is missing.
	ErrOptions = errors.New("PKCS #11 is not set up")
	// ErrModule: the HSM's module cannot be loaded.
	ErrModule = errors.New("PKCS #11 module cannot be used")
	// ErrToken: the token is not there, or is gone.
	ErrToken = errors.New("PKCS #11 token is not there")
	// ErrPIN: the token refuses the PIN.
	ErrPIN = errors.New("PKCS #11 token refuses the PIN")
	// ErrLocked: the token takes no PIN any more.
	ErrLocked = errors.New("PIN of the PKCS #11 token is locked")
	// ErrKey: the wrapping key is missing, or not one to be used.
	ErrKey = errors.New("wrapping key in the HSM cannot be used")
	// ErrPINFile: the file of the PIN cannot be used.
	ErrPINFile = errors.New("PIN file cannot be used")
)

// MaxPINBytes is the longest PIN.
const MaxPINBytes = 255

// Options say which key of which token.
type Options struct {
	// Module is the path of the HSM's library.
	Module string
	// Token and Key are labels.
	Token, Key string
	// PINFile has the user's PIN, and is readable by its owner only.
	PINFile string
}

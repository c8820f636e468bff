package dcap

import "github.com/coffer-fs/coffer/kds/attest"

// refusal is the kind of check that failed. Every refusal is an
// attest.ErrEvidence.
type refusal string

// Error implements error.
func (r refusal) Error() string { return string(r) }

// Is makes every refusal an attest.ErrEvidence.
func (r refusal) Is(target error) bool { return target == attest.ErrEvidence }

// blamesQuote reports whether it is for the quote and its machine, and not for the
// collateral, if all that the quote itself says was found right before.
func (r refusal) blamesQuote() bool {
	return r == ErrQuote || r == ErrRevoked || r == ErrQE || r == ErrTCB
}

// Reading bytes.
const (
	// ErrQuote: bytes are not a quote, or one of a kind that is not accepted.
	ErrQuote = refusal("SGX quote is not accepted")
	// ErrCollateral: collateral is missing, malformed or of another kind.
	ErrCollateral = refusal("collateral is not accepted")
	// ErrCertificate: a certificate is malformed or not what its place asks for.
	ErrCertificate = refusal("certificate is not accepted")
)

// Checking who said it.
const (
	// ErrRoot: a chain does not end in a trusted root.
	ErrRoot = refusal("root is not trusted")
	// ErrSignature: a signature is not that of its signer.
	ErrSignature = refusal("signature does not match")
	// ErrRevoked: a certificate is on its issuer's revocation list.
	ErrRevoked = refusal("certificate is revoked")
)

// Checking when.
const (
	// ErrDate: something is not valid yet, or no more.
	ErrDate = refusal("not valid at this time")
	// ErrOlder: collateral is older than some that was seen, or than the floor.
	ErrOlder = refusal("collateral is too old")
)

// Checking what.
const (
	// ErrBinding: two things that belong together do not.
	ErrBinding = refusal("parts do not belong together")
	// ErrQE: the quoting enclave is not Intel's.
	ErrQE = refusal("quoting enclave is not accepted")
	// ErrTCB: the platform is at no level that its TCB info knows.
	ErrTCB = refusal("platform has no TCB level")
)

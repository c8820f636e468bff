package attest

import "errors"

// Parsing.
var (
	// ErrHash: a text is not a code or signer hash.
	ErrHash = errors.New("not a hash")
	// ErrLevel: a text is not the name of a security level.
	ErrLevel = errors.New("unknown security level")
)

// Reading evidence.
var (
	// ErrEvidence: evidence is missing, malformed, forged or not accepted.
	ErrEvidence = errors.New("evidence is not valid")
	// ErrUnavailable: what evidence is verified with cannot be had now, or is not
	// right: it says nothing of the evidence, and is never an ErrEvidence.
	ErrUnavailable = errors.New("evidence cannot be verified now")
	// ErrIdentity: an identity has a missing or impossible part.
	ErrIdentity = errors.New("identity is not valid")
)

// Running on a platform.
var (
	// ErrNoEnclave: the program does not run in an enclave.
	ErrNoEnclave = errors.New("not in an enclave")
	// ErrSeal: the platform gives no seal key, or info asks for another.
	ErrSeal = errors.New("no seal key")
)

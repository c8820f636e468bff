// Package dcap verifies SGX quotes of DCAP, versions 3 and 4, with the standard
// library only.
//
// A quote is believed by these steps, in this order:
//
//	quote       its bytes, to the last one                       quote.go
//	chain       PCK certificate, its CA, the pinned Intel root   chain.go, pck.go
//	signatures  PCK, quoting enclave, attestation key, report    signed.go
//	collateral  TCB info, QE identity, revocation lists          statements.go
//	dates       of every certificate, list and statement         period.go
//	revocation  of every certificate                             revocation.go
//	floor       of the evaluation data numbers                   statements.go
//	worth       TCB level of platform and quoting enclave        verdict.go
//	memory      nothing is older than the newest seen            memory.go
//
// It promises that a Verdict is returned only if all of them hold, and that
// every refusal is an attest.ErrEvidence that says which check failed. A status
// is never there by default. A debug enclave has mode debug and level INSECURE,
// whatever its platform is worth; a revoked platform has level INSECURE.
//
// It refuses quotes of TDX, keys other than ECDSA P-256, encrypted PPIDs,
// missing revocation lists, and whatever is larger than its limits.
//
// A quote does not say when it was made. The time of an identity is therefore
// the older of the issue dates of TCB info and QE identity: no older knowledge
// was used, and about anything later nothing is known. So EXPIRE in a policy
// bounds how old the collateral may be; that a quote is fresh is told by its
// report data.
//
// Locks are taken one at a time, and never across a call of Memory or Source.
// Imported by kds/attest/platform, cmd/coffer-kds and its own pccs. Imports key,
// kds/attest and strictjson.
package dcap

import "github.com/coffer-fs/coffer/kds/attest"

// Limits of what is read.
const (
	// MaxQuoteBytes is the largest quote.
	MaxQuoteBytes = 16 << 10
	// MaxChainBytes is the longest chain of certificates in PEM.
	MaxChainBytes = 16 << 10
	// MaxCRLBytes is the largest revocation list.
	MaxCRLBytes = 32 << 10
	// MaxStatementBytes is the longest TCB info or QE identity.
	MaxStatementBytes = 32 << 10
	// MaxCollateralBytes is the longest JSON of collateral.
	MaxCollateralBytes = 256 << 10
	// MaxLevels is how many levels TCB info or QE identity may have.
	MaxLevels = 256
	// MaxAdvisories is how many advisories a level may have.
	MaxAdvisories = 256
	// MaxAdvisoryBytes is the longest name of an advisory.
	MaxAdvisoryBytes = 64
	// MaxMachines is how many chains, and how many attestation keys, are kept: each
	// machine has its own.
	MaxMachines = 512
	// MaxCollateral is how many sets of collateral are kept: machines of one kind
	// share theirs.
	MaxCollateral = 64
	// MaxSubjects is how many subjects the memory of a process has.
	MaxSubjects = 4096
)

var _ attest.Verifier = (*Verifier)(nil)

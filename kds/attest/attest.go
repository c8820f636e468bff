// Package attest turns evidence into an identity.
//
// A Platform is the enclave one runs in: it knows itself, makes evidence over
// 64 bytes of the caller's choice, and gives keys that only it can give. A
// Verifier reads the evidence of others. The providers stand in packages of
// their own: sim, a software CPU that anybody can make, and ego, SGX through
// EGo. Package platform chooses among them, and only as it is told to.
//
// It promises that nothing is trusted by default: the zero Mode, the zero Level
// and the zero Identity are invalid and match no policy, and an Identity that
// is not from a release enclave never has a level above INSECURE.
//
// Imported by every other package of kds, and by whoever opens a volume.
// Imports key only.
package attest

import (
	"context"

	"github.com/coffer-fs/coffer/key"
)

// Limits of evidence.
const (
	// ReportDataSize is what evidence carries for its asker, in bytes.
	ReportDataSize = 64
	// MaxEvidenceSize is the largest evidence that is read, in bytes.
	MaxEvidenceSize = 64 << 10
	// MaxKeyInfoSize is the largest info of a seal key, in bytes.
	MaxKeyInfoSize = 512
)

// ReportData is what evidence is made over: the hash of what it vouches for.
type ReportData [ReportDataSize]byte

// Format names a kind of evidence. It is public, and chosen by whoever sends
// the evidence: it selects the verifier and vouches for nothing.
type Format string

// The formats, which only grow: a name is never reused.
const (
	// FormatSim is the evidence of package sim.
	FormatSim Format = "sim"
	// FormatOpenEnclave is a 16-byte Open Enclave header and an SGX quote.
	FormatOpenEnclave Format = "open-enclave"
	// FormatSGXQuote is an SGX quote with its collateral.
	FormatSGXQuote Format = "sgx-quote"
)

// Evidence is what a platform says of itself, for others to verify. It is
// public.
type Evidence struct {
	Format Format `json:"format"`
	Data   []byte `json:"data"`
}

// Report is what verified evidence says.
type Report struct {
	Identity   Identity
	ReportData ReportData
}

// SealPolicy says who gets the same key from the same CPU.
type SealPolicy uint8

// The seal policies. The zero value is invalid.
const (
	// SealToSigner: every enclave of the same signer and product.
	SealToSigner SealPolicy = iota + 1
	// SealToCode: enclaves of the same code hash only.
	SealToCode
)

// Platform is the enclave that the program runs in.
type Platform interface {
	// Self is the identity the platform's evidence would show, as far as the
	// enclave itself can know it: its Level is INSECURE unless a verifier
	// says otherwise.
	Self() (Identity, error)

	// Quote makes evidence over data.
	Quote(data ReportData) (Evidence, error)

	// SealKey returns a key that this CPU gives to those whom policy names.
	// With empty info it is a new one, and the returned info, at most
	// MaxKeyInfoSize bytes and public, must be kept: only with it the same
	// key is given again, also after an update of the CPU's microcode. Info
	// from the host cannot widen the policy; wrong info gives another key.
	SealKey(policy SealPolicy, info []byte) (k key.Key, keyInfo []byte, err error)

	// Mode is release, debug or simulation.
	Mode() Mode
}

// Verifier reads evidence. It returns a report only if every signature and
// every date in the evidence is right; what the platform is worth is then the
// report's Level.
type Verifier interface {
	Verify(ctx context.Context, e Evidence) (Report, error)
}

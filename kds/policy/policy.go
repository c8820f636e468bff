// Package policy is the enclave constraint language: a line of text that says
// which enclaves are meant.
//
//	C:5124..65D3 S:B4CD..FE2D PROD:1 REVOKE:2 SEC:STALE EXPIRE:P6M
//
// It promises that a constraint that parses has one canonical text, from which
// keys are derived, so that a space or a letter's case never loses anyone's
// data; and that Match explains each refusal: the term, what it wanted and what
// it got. It refuses constraints that name nobody, and it refuses every
// identity that is not whole.
//
// Imported by kds, kds/server and config. Imports attest only.
package policy

import (
	"slices"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Limits of a constraint.
const (
	// MaxTextBytes is the longest text that is parsed.
	MaxTextBytes = 8192
	// MaxRevocation is the largest value of REVOKE.
	MaxRevocation = 1<<31 - 1
	// MaxYears is the longest period of EXPIRE, in either direction.
	MaxYears = 9999
)

// Constraint says which enclaves are meant. It is made by Parse; the zero
// Constraint is invalid and matches nobody.
type Constraint struct {
	text    string
	codes   []attest.Hash // sorted, each once
	signers []attest.Hash // sorted, each once
	prod    *uint16
	revoke  *int32
	sec     attest.Level
	expire  *Period
}

// String is the text as it was given.
func (c Constraint) String() string { return c.text }

// CodeHashes are the hashes of C, sorted.
func (c Constraint) CodeHashes() []attest.Hash { return slices.Clone(c.codes) }

// Signers are the hashes of S, sorted.
func (c Constraint) Signers() []attest.Hash { return slices.Clone(c.signers) }

// Level is the level that SEC asks for, STALE if it is not given.
func (c Constraint) Level() attest.Level { return c.sec }

// MinRevocation is the value of REVOKE and whether it is given.
func (c Constraint) MinRevocation() (level int32, ok bool) {
	if c.revoke == nil {
		return 0, false
	}
	return *c.revoke, true
}

// ProductID is the value of PROD and whether it is given.
func (c Constraint) ProductID() (id uint16, ok bool) {
	if c.prod == nil {
		return 0, false
	}
	return *c.prod, true
}

// Check refuses a constraint that names nobody.
func (c Constraint) Check() error {
	switch {
	case !c.sec.Valid():
		return invalid("no constraint is given")
	case len(c.codes) == 0 && len(c.signers) == 0:
		return invalid("either a code hash (C) or a code signer (S) must be provided")
	case len(c.signers) == 0 && c.prod != nil:
		return invalid("a code signer (S) must be provided with a product ID (PROD)")
	case len(c.signers) != 0 && c.prod == nil:
		return invalid("a product ID (PROD) must be provided with a code signer (S)")
	}
	return nil
}

// MarshalText implements encoding.TextMarshaler with the text as it was given.
func (c Constraint) MarshalText() ([]byte, error) { return []byte(c.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler by Parse.
func (c *Constraint) UnmarshalText(b []byte) error {
	p, err := Parse(string(b))
	if err == nil {
		*c = p
	}
	return err
}

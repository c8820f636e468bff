package dcap

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// statement is what TCB info and QE identity have in common.
type statement struct {
	ID         string    `json:"id"`
	Version    int       `json:"version"`
	Issued     time.Time `json:"issueDate"`
	NextUpdate time.Time `json:"nextUpdate"`
	Number     *uint32   `json:"tcbEvaluationDataNumber"`
}

func (s statement) period(what string) period { return period{what, s.Issued, s.NextUpdate} }

// readStatement decodes a text only after its signature was found right. It
// leaves fields alone that it does not know: Intel adds some.
func readStatement(r roots, what, text string, signature []byte, issuers string, to any) (chain, error) {
	if len(text) == 0 || len(text) > MaxStatementBytes {
		return nil, fmt.Errorf("%w: %s has %d bytes, want 1 to %d", ErrCollateral, what, len(text), MaxStatementBytes)
	}
	signer, err := r.readChain(issuers, signerChainRoles)
	if err != nil {
		return nil, fmt.Errorf("issuer of the %s: %w", what, err)
	}
	if err := verifyRaw(keyOf(signer[0]), []byte(text), signature, what); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), to); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCollateral, what, err)
	}
	return signer, nil
}

// statusJSON is what a level says of those who reach it.
type statusJSON struct {
	Status     string   `json:"tcbStatus"`
	Advisories []string `json:"advisoryIDs"`
}

// worth is a status with the advisories that explain it.
type worth struct {
	status     Status
	advisories []string
}

func (j statusJSON) read() (worth, error) {
	s, err := parseStatus(j.Status)
	if err != nil {
		return worth{}, err
	}
	if len(j.Advisories) > MaxAdvisories {
		return worth{}, fmt.Errorf("%w: %d advisories, at most %d are read", ErrCollateral, len(j.Advisories), MaxAdvisories)
	}
	for _, a := range j.Advisories {
		if len(a) > MaxAdvisoryBytes {
			return worth{}, fmt.Errorf("%w: advisory %q has %d bytes, at most %d are read", ErrCollateral, clip(a), len(a), MaxAdvisoryBytes)
		}
	}
	return worth{s, j.Advisories}, nil
}

// checkLevels bounds the number of levels.
func checkLevels(what string, n int) error {
	if n == 0 || n > MaxLevels {
		return fmt.Errorf("%w: %s has %d levels, want 1 to %d", ErrCollateral, what, n, MaxLevels)
	}
	return nil
}

// hexField reads a field of digits that fill to.
func hexField(to []byte, digits, what string) error {
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != len(to) {
		return fmt.Errorf("%w: %s %q is not %d bytes in hexadecimal digits", ErrCollateral, what, clip(digits), len(to))
	}
	copy(to, b)
	return nil
}

package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Match returns nil if id is one of the enclaves that c means, and otherwise a
// *Mismatch for the first term that fails, in the order identity, PROD, REVOKE,
// SEC, EXPIRE. An invalid constraint or identity matches nothing.
func (c Constraint) Match(id attest.Identity, now time.Time) error {
	if err := c.Check(); err != nil {
		return err
	}
	if err := id.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	for _, term := range []func(attest.Identity, time.Time) *Mismatch{
		c.matchWho, c.matchProduct, c.matchRevocation, c.matchLevel, c.matchAge,
	} {
		if m := term(id, now); m != nil {
			return m
		}
	}
	return nil
}

// matchWho: code hash and signer are alternatives.
func (c Constraint) matchWho(id attest.Identity, _ time.Time) *Mismatch {
	code, signer := slices.Contains(c.codes, id.CodeHash), slices.Contains(c.signers, id.SignerHash)
	switch {
	case code || signer:
		return nil
	case len(c.signers) == 0:
		return &Mismatch{"C", "code hash " + oneOf(c.codes), string(id.CodeHash)}
	case len(c.codes) == 0:
		return &Mismatch{"S", "code signer " + oneOf(c.signers), string(id.SignerHash)}
	}
	return &Mismatch{"C and S", "code hash " + oneOf(c.codes) + " or code signer " + oneOf(c.signers),
		fmt.Sprintf("code hash %s and code signer %s", id.CodeHash, id.SignerHash)}
}

// matchProduct counts also where the code hash matched.
func (c Constraint) matchProduct(id attest.Identity, _ time.Time) *Mismatch {
	if c.prod == nil || *c.prod == id.ProductID {
		return nil
	}
	return &Mismatch{"PROD", fmt.Sprintf("product ID %d", *c.prod), fmt.Sprint(id.ProductID)}
}

func (c Constraint) matchRevocation(id attest.Identity, _ time.Time) *Mismatch {
	if c.revoke == nil || id.RevocationLevel >= *c.revoke {
		return nil
	}
	return &Mismatch{"REVOKE", fmt.Sprintf("revocation level %d or more", *c.revoke), fmt.Sprint(id.RevocationLevel)}
}

// matchLevel: a level admits those above it, but INSECURE only itself, so that
// no constraint admits both debug and production.
func (c Constraint) matchLevel(id attest.Identity, _ time.Time) *Mismatch {
	if c.sec == id.Level || (c.sec != attest.Insecure && id.Level > c.sec) {
		return nil
	}
	wanted := map[attest.Level]string{
		attest.Insecure: "security level INSECURE and no other", attest.Stale: "security level STALE or SECURE",
		attest.Secure: "security level SECURE"}[c.sec]
	return &Mismatch{"SEC", wanted, id.Level.String()}
}

func (c Constraint) matchAge(id attest.Identity, now time.Time) *Mismatch {
	if c.expire == nil || !id.Timestamp.IsZero() && c.expire.Before(now).Before(id.Timestamp) {
		return nil
	}
	age := "one of " + id.Timestamp.UTC().Format(time.RFC3339)
	if id.Timestamp.IsZero() {
		age = "one whose age the verifier can't tell (EGo alone can't: --pccs.url)"
	}
	return &Mismatch{"EXPIRE", "attestation younger than " + c.expire.String(), age}
}

// oneOf lists a bounded number of hashes.
func oneOf(hashes []attest.Hash) string {
	const shown = 4
	var s []string
	for _, h := range hashes[:min(len(hashes), shown)] {
		s = append(s, string(h))
	}
	if more := len(hashes) - len(s); more > 0 {
		s = append(s, fmt.Sprintf("%d more", more))
	}
	return strings.Join(s, " or ")
}

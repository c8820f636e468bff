package azurehsm

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coffer-fs/coffer/kds/attest"
)

const (
	policyVersion   = "1.0.0"
	maxPolicyBytes  = 16 << 10
	maxPolicyDepth  = 8
	claimCode       = "x-ms-sgx-mrenclave"
	claimSigner     = "x-ms-sgx-mrsigner"
	claimProduct    = "x-ms-sgx-product-id"
	claimDebuggable = "x-ms-sgx-is-debuggable"
)

// releasePolicy is Azure's grammar of release policies.
type releasePolicy struct {
	Version string      `json:"version"`
	AnyOf   []condition `json:"anyOf"`
}

// condition is an authority with what it must claim, a claim, or a combination.
type condition struct {
	Authority string          `json:"authority"`
	Claim     string          `json:"claim"`
	Equals    json.RawMessage `json:"equals"`
	AllOf     []condition     `json:"allOf"`
	AnyOf     []condition     `json:"anyOf"`
}

// checkPolicy refuses a release policy that would give the key to an enclave that
// is not this one: each of its alternatives must be of our authority, demand
// either this code or this signer and product, and forbid debugging. What a policy
// demands besides is its own matter.
func checkPolicy(b []byte, authority string, self attest.Identity) error {
	if len(b) == 0 || len(b) > maxPolicyBytes {
		return fmt.Errorf("its release policy has %d bytes", len(b))
	}
	var p releasePolicy
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("its release policy: %w", err)
	}
	if p.Version != policyVersion || len(p.AnyOf) == 0 {
		return fmt.Errorf("its release policy has the version %.20q and %d alternatives", p.Version, len(p.AnyOf))
	}
	for i, c := range p.AnyOf {
		if !c.plain(0) {
			return fmt.Errorf("its release policy, alternative %d: a condition is not one claim, one allOf or one anyOf", i+1)
		}
		if err := c.onlyFor(authority, self); err != nil {
			return fmt.Errorf("its release policy, alternative %d: %w", i+1, err)
		}
	}
	return nil
}

// plain reports whether c and all in it have one meaning.
func (c condition) plain(depth int) bool {
	forms := 0
	for _, is := range []bool{c.Claim != "", c.AllOf != nil, c.AnyOf != nil} {
		if is {
			forms++
		}
	}
	if forms != 1 || depth > maxPolicyDepth || (c.Authority != "") != (depth == 0) {
		return false
	}
	for _, one := range append(slices.Clone(c.AllOf), c.AnyOf...) {
		if !one.plain(depth + 1) {
			return false
		}
	}
	return true
}

func (c condition) onlyFor(authority string, self attest.Identity) error {
	switch demands := c.demands; {
	case strings.TrimSuffix(c.Authority, "/") != authority:
		return fmt.Errorf("it believes %.100q, want %q", c.Authority, authority)
	case !demands(claimDebuggable, "false"):
		return errors.New("it does not demand " + claimDebuggable + " false: a debugger could have the key released")
	case !demands(claimCode, string(self.CodeHash)) && !(demands(claimSigner, string(self.SignerHash)) && demands(claimProduct, fmt.Sprint(self.ProductID))):
		return fmt.Errorf("it demands neither this enclave's code (%s %s) nor its signer and product (%s %s, %s %d): others could have the key released",
			claimCode, strings.ToLower(string(self.CodeHash)), claimSigner, strings.ToLower(string(self.SignerHash)), claimProduct, self.ProductID)
	}
	return nil
}

// demands reports whether nothing satisfies c but with a claim of that value.
func (c condition) demands(claim, value string) bool {
	if c.Claim != "" {
		return c.Claim == claim && strings.EqualFold(strings.Trim(string(c.Equals), `"`), value)
	}
	inside := func(one condition) bool { return one.demands(claim, value) }
	if c.AllOf != nil {
		return slices.ContainsFunc(c.AllOf, inside)
	}
	return len(c.AnyOf) > 0 && !slices.ContainsFunc(c.AnyOf, func(one condition) bool { return !inside(one) })
}

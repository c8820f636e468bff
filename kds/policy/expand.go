package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Own says which of its own values an enclave adds to a template.
type Own struct {
	CodeHash           bool // useOwnCodeHash
	SignerAndProductID bool // useOwnCodeSignerAndProductID
}

// Expand makes a whole constraint of a template: it appends to the text, as it
// stands, what use asks for of self and what is not in it yet, in the order C,
// S, PROD. A template with another PROD than self's is refused.
func Expand(template string, use Own, self attest.Identity) (Constraint, error) {
	t, err := ParseTemplate(template)
	if err != nil {
		return Constraint{}, err
	}
	if use.SignerAndProductID && t.prod != nil && *t.prod != self.ProductID {
		return Constraint{}, fmt.Errorf("%w: cannot apply useOwnCodeSignerAndProductID as PROD:%d is already specified and the enclave's own is %d",
			ErrInvalid, *t.prod, self.ProductID)
	}
	var b strings.Builder
	b.WriteString(template)
	if use.CodeHash && !slices.Contains(t.codes, self.CodeHash) {
		fmt.Fprintf(&b, " C:%s", self.CodeHash)
	}
	if use.SignerAndProductID && !slices.Contains(t.signers, self.SignerHash) {
		fmt.Fprintf(&b, " S:%s", self.SignerHash)
	}
	if use.SignerAndProductID && t.prod == nil {
		fmt.Fprintf(&b, " PROD:%d", self.ProductID)
	}
	return Parse(b.String())
}

package policy

import (
	"fmt"
	"strings"
)

// Canonical is the one text of all constraints with the same terms: C sorted,
// S sorted, upper-case hashes, PROD, REVOKE, EXPIRE, and SEC always. Keys are
// derived from it. Every term counts: REVOKE:0 is not the same as no REVOKE.
func (c Constraint) Canonical() string {
	var terms []string
	for _, h := range c.codes {
		terms = append(terms, "C:"+string(h))
	}
	for _, h := range c.signers {
		terms = append(terms, "S:"+string(h))
	}
	if c.prod != nil {
		terms = append(terms, fmt.Sprintf("PROD:%d", *c.prod))
	}
	if c.revoke != nil {
		terms = append(terms, fmt.Sprintf("REVOKE:%d", *c.revoke))
	}
	if c.expire != nil {
		terms = append(terms, "EXPIRE:"+c.expire.String())
	}
	return strings.Join(append(terms, "SEC:"+c.sec.String()), " ")
}

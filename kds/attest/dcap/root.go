package dcap

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
)

// intelRoot is the SHA-256 of the "Intel SGX Root CA" of 2018, valid to the end
// of 2049, as DER.
const intelRoot = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"

// roots are the hashes of the certificates that chains may end in.
type roots map[[sha256.Size]byte]bool

// newRoots are Intel's, or else those given.
func newRoots(others []*x509.Certificate) roots {
	pinned := roots{}
	for _, c := range others {
		pinned[sha256.Sum256(c.Raw)] = true
	}
	if len(pinned) == 0 {
		b, _ := hex.DecodeString(intelRoot)
		pinned[[sha256.Size]byte(b)] = true
	}
	return pinned
}

func (r roots) check(c *x509.Certificate) error {
	if h := sha256.Sum256(c.Raw); !r[h] {
		return fmt.Errorf("%w: %q with SHA-256 %x", ErrRoot, clip(c.Subject.CommonName), h)
	}
	return nil
}

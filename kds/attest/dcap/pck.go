package dcap

import "fmt"

// pck is a platform's certificate with its issuers.
type pck struct {
	chain chain
	info  platformInfo
}

// readPCK reads a PCK chain and what it says of its platform.
func (r roots) readPCK(text string) (*pck, error) {
	c, err := r.readChain(text, pckChainRoles)
	if err != nil {
		return nil, fmt.Errorf("PCK chain: %w", err)
	}
	for _, e := range c[0].Extensions {
		if e.Id.Equal(oidSGX) {
			info, err := parseExtension(e.Value)
			return &pck{c, info}, err
		}
	}
	return nil, fmt.Errorf("%w: PCK certificate has no SGX extension", ErrCertificate)
}

// platform is the name by which its collateral is found.
func (p *pck) platform() Platform {
	return Platform{FMSPC: p.info.fmspc, PCEID: p.info.pceID, CA: caOf[p.chain[1].Subject.CommonName]}
}

// CA names one of Intel's two issuers of PCK certificates.
type CA string

// The issuers.
const (
	ProcessorCA CA = "processor"
	PlatformCA  CA = "platform"
)

var caOf = map[string]CA{rolePCKCA.common[0]: ProcessorCA, rolePCKCA.common[1]: PlatformCA}

// Platform says whose collateral is asked for.
type Platform struct {
	FMSPC FMSPC
	PCEID PCEID
	CA    CA
}

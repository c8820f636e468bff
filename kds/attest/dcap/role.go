package dcap

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"slices"
)

// role is a place in a chain: who may stand there.
type role struct {
	name   string
	common []string // names of the subject
	ca     bool
	usage  x509.KeyUsage
}

const intel = "Intel Corporation"

// The roles. Their names keep one signer of Intel from speaking for another:
// all of them have the same root.
var (
	roleRoot      = role{name: "root", common: []string{"Intel SGX Root CA"}, ca: true, usage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	rolePCKCA     = role{name: "PCK CA", common: []string{"Intel SGX PCK Processor CA", "Intel SGX PCK Platform CA"}, ca: true, usage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	rolePCK       = role{name: "PCK", common: []string{"Intel SGX PCK Certificate"}, usage: x509.KeyUsageDigitalSignature}
	roleTCBSigner = role{name: "TCB signer", common: []string{"Intel SGX TCB Signing"}, usage: x509.KeyUsageDigitalSignature}
)

// check refuses a certificate that does not fit the role.
func (r role) check(c *x509.Certificate) error {
	public, isECDSA := c.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !slices.Contains(r.common, c.Subject.CommonName) || !slices.Equal(c.Subject.Organization, []string{intel}):
		return r.refuse("its name is %q of %q", clip(c.Subject.CommonName), clip(fmt.Sprint(c.Subject.Organization)))
	case !isECDSA || public.Curve != elliptic.P256():
		return r.refuse("its key is not ECDSA P-256")
	case c.SignatureAlgorithm != x509.ECDSAWithSHA256:
		return r.refuse("it is signed by %v, want %v", c.SignatureAlgorithm, x509.ECDSAWithSHA256)
	case !c.BasicConstraintsValid || c.IsCA != r.ca:
		return r.refuse("its basic constraints say CA %t, want %t", c.IsCA, r.ca)
	case c.KeyUsage&r.usage != r.usage:
		return r.refuse("its key usage is %#x, want %#x", c.KeyUsage, r.usage)
	case len(c.UnhandledCriticalExtensions) != 0:
		return r.refuse("it has an unknown critical extension %v", c.UnhandledCriticalExtensions[0])
	}
	return nil
}

func (r role) refuse(format string, args ...any) error {
	return fmt.Errorf("%w as %s: %s", ErrCertificate, r.name, fmt.Sprintf(format, args...))
}

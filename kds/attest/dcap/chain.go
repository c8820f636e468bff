package dcap

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
)

// pckChainRoles and signerChainRoles are chains, leaf first.
var (
	pckChainRoles    = []role{rolePCK, rolePCKCA, roleRoot}
	crlChainRoles    = []role{rolePCKCA, roleRoot}
	signerChainRoles = []role{roleTCBSigner, roleRoot}
)

// chain is certificates whose names, uses and signatures are right, leaf first,
// root last. Their dates are looked at each time.
type chain []*x509.Certificate

// readChain reads a chain in PEM and checks all that does not depend on time.
func (r roots) readChain(text string, roles []role) (chain, error) {
	c, err := parseChain(text, len(roles))
	if err != nil {
		return nil, err
	}
	for i, cert := range c {
		if err := roles[i].check(cert); err != nil {
			return nil, err
		}
	}
	if err := r.check(c[len(c)-1]); err != nil {
		return nil, err
	}
	for i, cert := range c[:len(c)-1] {
		if err := issued(c[i+1], cert, roles[i]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// issued refuses a certificate that parent did not issue.
func issued(parent, c *x509.Certificate, r role) error {
	if !bytes.Equal(c.RawIssuer, parent.RawSubject) {
		return r.refuse("its issuer is %q, not %q", clip(c.Issuer.CommonName), clip(parent.Subject.CommonName))
	}
	if err := c.CheckSignatureFrom(parent); err != nil {
		return fmt.Errorf("%w: certificate of the %s: %w", ErrSignature, r.name, err)
	}
	return nil
}

// parseChain reads exactly count certificates in PEM. Space and zero bytes may
// stand around them, and nothing else.
func parseChain(text string, count int) (chain, error) {
	if len(text) > MaxChainBytes {
		return nil, fmt.Errorf("%w: chain has %d bytes, at most %d are read", ErrCertificate, len(text), MaxChainBytes)
	}
	const around, begin = " \t\r\n\x00", "-----BEGIN CERTIFICATE-----"
	var c chain
	for rest := []byte(strings.Trim(text, around)); len(rest) > 0; rest = bytes.TrimLeft(rest, around) {
		block, after := pem.Decode(rest)
		if block == nil || !bytes.HasPrefix(rest, []byte(begin)) || len(block.Headers) != 0 || len(c) == count {
			return nil, fmt.Errorf("%w: chain is not %d certificates in PEM", ErrCertificate, count)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: certificate %d of the chain: %w", ErrCertificate, len(c), err)
		}
		c, rest = append(c, cert), after
	}
	if len(c) != count {
		return nil, fmt.Errorf("%w: chain of %d certificates, want %d", ErrCertificate, len(c), count)
	}
	return c, nil
}

// periods are when the certificates are valid.
func (c chain) periods() []period {
	var all []period
	for _, cert := range c {
		all = append(all, period{fmt.Sprintf("certificate %q", cert.Subject.CommonName), cert.NotBefore, cert.NotAfter})
	}
	return all
}

package dcap

import (
	"bytes"
	"crypto/x509"
	"fmt"
)

// revocations is a revocation list whose signature is right.
type revocations struct {
	period  period
	revoked map[string]bool // serial numbers
}

// readRevocations reads a list, DER, and checks all that does not depend on
// time.
func readRevocations(der []byte, issuer *x509.Certificate, r role) (*revocations, error) {
	what := fmt.Sprintf("revocation list of the %s", r.name)
	if len(der) == 0 || len(der) > MaxCRLBytes {
		return nil, fmt.Errorf("%w: %s has %d bytes, want 1 to %d", ErrCollateral, what, len(der), MaxCRLBytes)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil || len(list.Raw) != len(der) {
		return nil, fmt.Errorf("%w: %s is malformed: %v", ErrCollateral, what, err)
	}
	if err := checkList(list, issuer, what); err != nil {
		return nil, err
	}
	revoked := map[string]bool{}
	for _, e := range list.RevokedCertificateEntries {
		revoked[e.SerialNumber.String()] = true
	}
	return &revocations{period{what, list.ThisUpdate, list.NextUpdate}, revoked}, nil
}

// checkList refuses the list of another issuer, and one with a critical
// extension: it could say that the list is not of all certificates.
func checkList(list *x509.RevocationList, issuer *x509.Certificate, what string) error {
	for _, e := range list.Extensions {
		if e.Critical {
			return fmt.Errorf("%w: %s has an unknown critical extension %v", ErrCollateral, what, e.Id)
		}
	}
	switch {
	case !bytes.Equal(list.RawIssuer, issuer.RawSubject):
		return fmt.Errorf("%w: %s is of %q, not of %q", ErrCollateral, what, clip(list.Issuer.CommonName), clip(issuer.Subject.CommonName))
	case list.SignatureAlgorithm != x509.ECDSAWithSHA256:
		return fmt.Errorf("%w: %s is signed by %v", ErrCollateral, what, list.SignatureAlgorithm)
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrSignature, what, err)
	}
	return nil
}

// check refuses a certificate that is on the list.
func (r *revocations) check(c *x509.Certificate) error {
	if r.revoked[c.SerialNumber.String()] {
		return fmt.Errorf("%w: %q, serial number %x, is on the %s", ErrRevoked, clip(c.Subject.CommonName), c.SerialNumber, r.period.what)
	}
	return nil
}

// mark is how new the list of issuer is.
func (r *revocations) mark(issuer *x509.Certificate) Mark {
	return Mark{Subject: fmt.Sprintf("revocation list of %q", issuer.Subject.CommonName), Issued: r.period.from}
}

package dcap

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
)

// oidOpenEnclave is the extension of attested TLS that holds evidence of Open
// Enclave.
var oidOpenEnclave = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 105, 1}

// CertificateQuote is the quote in a certificate of EGo's attested TLS.
func CertificateQuote(c *x509.Certificate) ([]byte, error) {
	for _, e := range c.Extensions {
		if e.Id.Equal(oidOpenEnclave) {
			return OpenEnclaveQuote(e.Value)
		}
	}
	return nil, fmt.Errorf("%w: it has no extension %v with a quote", ErrCertificate, oidOpenEnclave)
}

// Certificate verifies a certificate of EGo's attested TLS with the collateral
// of its quote: the quote vouches for the certificate's public key. That the
// other side has the private key is for TLS to see.
func (v *Verifier) Certificate(ctx context.Context, cert *x509.Certificate, c Collateral) (Verdict, error) {
	quote, err := CertificateQuote(cert)
	if err != nil {
		return Verdict{}, err
	}
	verdict, err := v.Quote(ctx, quote, c)
	if err != nil {
		return Verdict{}, err
	}
	want := [64]byte{}
	h := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	copy(want[:], h[:])
	if verdict.ReportData != want {
		return Verdict{}, fmt.Errorf("%w: the quote is not over the certificate's public key", ErrBinding)
	}
	if err := checkPeriods(v.o.Now(), chain{cert}.periods()); err != nil {
		return Verdict{}, err
	}
	return verdict, nil
}

package dcap_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/dcap/dcaptest"
)

// change makes one thing wrong.
type change = func(*dcaptest.Machine)

// refusal is one thing that is wrong, and what is said about it.
type refusal struct {
	name   string
	change change
	want   error
	text   string
}

func checkRefusals(t *testing.T, all []refusal) {
	t.Helper()
	for _, r := range all {
		m := dcaptest.New()
		r.change(m)
		v, err := verify(m)
		refused(t, r.name, err, r.want, r.text)
		if v.Status != 0 || v.Identity.Check() == nil {
			t.Errorf("%s: refused, with the verdict %+v", r.name, v)
		}
	}
}

// header changes 16 bits of the header.
func header(offset int, value uint16) change {
	return func(m *dcaptest.Machine) {
		m.Quoted.Header = func(b []byte) { binary.LittleEndian.PutUint16(b[offset:], value) }
	}
}

// whole changes all of a quote.
func whole(edit func(b []byte) []byte) change {
	return func(m *dcaptest.Machine) { m.Quoted.Edit = edit }
}

func size32(offset int, n uint32) change {
	return whole(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[offset:], n); return b })
}

// Offsets in a quote of version 3 with nine bytes of auth data.
const (
	offsetSize     = 432
	offsetAuthSize = 436 + 128 + 384 + 64
	offsetType     = offsetAuthSize + 2 + 9
)

func TestRefusedQuotes(t *testing.T) {
	certification := func(kind uint16, data string) change {
		return func(m *dcaptest.Machine) { m.Quoted.Type, m.Quoted.Certification = kind, []byte(data) }
	}
	four := func(then change) change {
		return func(m *dcaptest.Machine) { m.Quoted.Version = 4; then(m) }
	}
	checkRefusals(t, []refusal{
		{"empty", whole(func([]byte) []byte { return nil }), dcap.ErrQuote, "ends before its header and report"},
		{"cut", whole(func(b []byte) []byte { return b[:600] }), dcap.ErrQuote, "quote ends before its signature data"},
		{"too large", whole(func(b []byte) []byte { return append(b, make([]byte, dcap.MaxQuoteBytes)...) }), dcap.ErrQuote, "at most 16384 are read"},
		{"one byte more", whole(func(b []byte) []byte { return append(b, 0) }), dcap.ErrQuote, "1 bytes follow the quote"},
		{"huge signature data", size32(offsetSize, 1<<32-1), dcap.ErrQuote, "quote ends before its signature data"},
		{"small signature data", size32(offsetSize, 1), dcap.ErrQuote, "bytes follow the quote"},
		{"huge certification data", size32(offsetType+2, 1<<31), dcap.ErrQuote, "signature data ends before its certification data"},
		{"small certification data", size32(offsetType+2, 10), dcap.ErrQuote, "bytes follow the signature data"},
		{"huge auth data", whole(func(b []byte) []byte { b[offsetAuthSize], b[offsetAuthSize+1] = 255, 255; return b }), dcap.ErrQuote, "ends before its auth data"},
		{"version 2", header(0, 2), dcap.ErrQuote, "version 2, want 3 or 4"},
		{"version 5", header(0, 5), dcap.ErrQuote, "version 5, want 3 or 4"},
		{"version 4 in the form of 3", header(0, 4), dcap.ErrQuote, "bytes follow the signature data"},
		{"ECDSA P-384", header(2, 3), dcap.ErrQuote, "attestation key type 3, want 2"},
		{"EPID", header(2, 0), dcap.ErrQuote, "attestation key type 0, want 2"},
		{"TDX", four(header(4, 0x81)), dcap.ErrQuote, "TEE type 0x81, want 0 (SGX)"},
		{"another vendor", header(12, 0), dcap.ErrQuote, "not Intel"},
		{"version 4 without a QE report", four(func(m *dcaptest.Machine) { m.Quoted.OuterType = 5 }), dcap.ErrQuote, "version 4 with certification data of type 5 (PCK certificate chain), want certification data of type 6 (QE report)"},
		{"type 0", whole(func(b []byte) []byte { b[offsetType] = 0; return b }), dcap.ErrQuote, "unknown type 0"},
		{"type 1", certification(1, "ppid"), dcap.ErrQuote, "type 1 (plain PPID), and no PCK chain beside the quote"},
		{"type 2", certification(2, "ppid"), dcap.ErrQuote, "type 2 (PPID encrypted by RSA-2048), want"},
		{"type 3", certification(3, "ppid"), dcap.ErrQuote, "type 3 (PPID encrypted by RSA-3072), want"},
		{"type 4", certification(4, "leaf"), dcap.ErrQuote, "type 4 (PCK certificate alone), want"},
		{"type 6", certification(6, "report"), dcap.ErrQuote, "type 6 (QE report)"},
		{"type 7", certification(7, "manifest"), dcap.ErrQuote, "type 7 (platform manifest), want"},
		{"type 8", certification(8, ""), dcap.ErrQuote, "unknown type 8"},
		{"no chain", certification(5, ""), dcap.ErrCertificate, "chain of 0 certificates, want 3"},
		{"no certificates", certification(5, "nothing"), dcap.ErrCertificate, "not 3 certificates in PEM"},
		{"no such certificate", certification(5, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), dcap.ErrCertificate, "certificate 0 of the chain"},
		{"long chain", certification(5, strings.Repeat("\n", dcap.MaxChainBytes-1100)), dcap.ErrCertificate, "chain of 0"},
		{"attestation key off the curve", func(m *dcaptest.Machine) { m.Quoted.PointXY = bytes.Repeat([]byte{1}, 64) }, dcap.ErrQuote, "no point of P-256"},
	})
}

func TestRefusedSignatures(t *testing.T) {
	other := dcaptest.NewKey()
	by := func(role string) change { return func(m *dcaptest.Machine) { m.SignedBy[role] = other } }
	checkRefusals(t, []refusal{
		{"QE report", func(m *dcaptest.Machine) { m.Quoted.QESigner = other }, dcap.ErrSignature, "report of the quoting enclave"},
		{"quote", func(m *dcaptest.Machine) { m.Quoted.Signer = other }, dcap.ErrSignature, "does not match: quote"},
		{"another attestation key", func(m *dcaptest.Machine) { m.Quoted.QEData = make([]byte, 64) }, dcap.ErrBinding, "not over the attestation key and auth data"},
		{"more report data", func(m *dcaptest.Machine) {
			m.Quoted.QEData = nil
			m.Quoted.QEReport[dcaptest.OffsetData+63] = 1
		}, dcap.ErrBinding, "not over the attestation key and auth data"},
		{"CA", by("ca"), dcap.ErrSignature, "certificate of the PCK CA"},
		{"PCK", by("pck"), dcap.ErrSignature, "certificate of the PCK"},
		{"TCB signer", by("tcb"), dcap.ErrSignature, "issuer of the TCB info: signature does not match: certificate of the TCB signer"},
		{"root list", by("list of root"), dcap.ErrSignature, "revocation list of the root"},
		{"PCK list", by("list of ca"), dcap.ErrSignature, "revocation list of the PCK CA"},
		{"TCB info", func(m *dcaptest.Machine) {
			m.EditCollateral = func(c *dcap.Collateral) { c.TCBInfoSignature = dcaptest.Sign(other, []byte(c.TCBInfo)) }
		}, dcap.ErrSignature, "TCB info"},
		{"QE identity", func(m *dcaptest.Machine) {
			m.EditCollateral = func(c *dcap.Collateral) { c.QEIdentitySignature = c.TCBInfoSignature }
		}, dcap.ErrSignature, "QE identity"},
		{"short signature", func(m *dcaptest.Machine) {
			m.EditCollateral = func(c *dcap.Collateral) { c.TCBInfoSignature = c.TCBInfoSignature[1:] }
		}, dcap.ErrSignature, "TCB info: 63 bytes, want 64"},
		{"TCB info for QE identity", func(m *dcaptest.Machine) {
			m.EditCollateral = func(c *dcap.Collateral) { c.QEIdentity, c.QEIdentitySignature = c.TCBInfo, c.TCBInfoSignature }
		}, dcap.ErrCollateral, "QE identity of version 3"},
		{"QE identity for TCB info", func(m *dcaptest.Machine) {
			m.EditCollateral = func(c *dcap.Collateral) { c.TCBInfo, c.TCBInfoSignature = c.QEIdentity, c.QEIdentitySignature }
		}, dcap.ErrCollateral, `TCB info is of "QE", want SGX`},
	})
}

func TestRefusedCertificates(t *testing.T) {
	edit := func(role string, to func(*x509.Certificate)) change {
		return func(m *dcaptest.Machine) { m.Edit[role] = to }
	}
	rename := func(to string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.Subject.CommonName = to }
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	unknown := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}
	checkRefusals(t, []refusal{
		{"name of the root", edit("root", rename("Root")), dcap.ErrCertificate, `as root: its name is "Root"`},
		{"name of the CA", edit("ca", rename("Intel SGX Root CA")), dcap.ErrCertificate, `as PCK CA: its name is "Intel SGX Root CA"`},
		{"name of the PCK", edit("pck", rename("Intel SGX TCB Signing")), dcap.ErrCertificate, `as PCK: its name is "Intel SGX TCB Signing"`},
		{"name of the TCB signer", edit("tcb", rename("Intel SGX PCK Certificate")), dcap.ErrCertificate, `as TCB signer: its name is "Intel SGX PCK Certificate"`},
		{"not of Intel", edit("pck", func(c *x509.Certificate) { c.Subject.Organization = []string{"Other"} }), dcap.ErrCertificate, `of "[Other]"`},
		{"CA that is none", edit("ca", func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false }), dcap.ErrCertificate, "as PCK CA: its basic constraints say CA false, want true"},
		{"PCK that is a CA", edit("pck", func(c *x509.Certificate) { c.IsCA = true }), dcap.ErrCertificate, "as PCK: its basic constraints say CA true, want false"},
		{"TCB signer that is a CA", edit("tcb", func(c *x509.Certificate) { c.IsCA = true }), dcap.ErrCertificate, "as TCB signer: its basic constraints"},
		{"no constraints", edit("pck", func(c *x509.Certificate) { c.BasicConstraintsValid = false }), dcap.ErrCertificate, "as PCK: its basic constraints"},
		{"CA that may not sign", edit("ca", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), dcap.ErrCertificate, "as PCK CA: its key usage"},
		{"CA without lists", edit("ca", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }), dcap.ErrCertificate, "as PCK CA: its key usage"},
		{"PCK that may not sign", edit("pck", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), dcap.ErrCertificate, "as PCK: its key usage"},
		{"TCB signer that may not sign", edit("tcb", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }), dcap.ErrCertificate, "as TCB signer: its key usage"},
		{"P-384", edit("pck", func(c *x509.Certificate) { c.PublicKey = p384.Public() }), dcap.ErrCertificate, "as PCK: its key is not ECDSA P-256"},
		{"RSA", edit("tcb", func(c *x509.Certificate) { c.PublicKey = rsaKey.Public() }), dcap.ErrCertificate, "as TCB signer: its key is not ECDSA P-256"},
		{"SHA-512", edit("pck", func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA512 }), dcap.ErrCertificate, "as PCK: it is signed by ECDSA-SHA512"},
		{"critical extension", edit("ca", func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{unknown} }), dcap.ErrCertificate, "unknown critical extension 1.2.3"},
		{"no SGX extension", edit("pck", func(c *x509.Certificate) { c.ExtraExtensions = nil }), dcap.ErrCertificate, "PCK certificate has no SGX extension"},
	})
}

// The certificates must be each other's, in order.
func TestRefusedChains(t *testing.T) {
	chain := func(of func(m *dcaptest.Machine, root, ca, pck *x509.Certificate) string) change {
		return func(m *dcaptest.Machine) {
			m.Quoted.Type = 5
			root := m.Root()
			ca := m.PCKCA(root)
			m.Quoted.Certification = []byte(of(m, root, ca, m.PCK(ca)))
		}
	}
	checkRefusals(t, []refusal{
		{"another root", chain(func(_ *dcaptest.Machine, root, ca, pck *x509.Certificate) string { return dcaptest.PEM(pck, ca, root) }), dcap.ErrRoot, "root is not trusted"},
		{"root first", chain(func(_ *dcaptest.Machine, root, ca, pck *x509.Certificate) string { return dcaptest.PEM(root, ca, pck) }), dcap.ErrCertificate, "as PCK"},
		{"no root", chain(func(_ *dcaptest.Machine, _, ca, pck *x509.Certificate) string { return dcaptest.PEM(pck, ca) }), dcap.ErrCertificate, "chain of 2 certificates, want 3"},
		{"four", chain(func(_ *dcaptest.Machine, root, ca, pck *x509.Certificate) string {
			return dcaptest.PEM(pck, ca, root, root)
		}), dcap.ErrCertificate, "not 3 certificates in PEM"},
		{"text between", chain(func(_ *dcaptest.Machine, root, ca, pck *x509.Certificate) string {
			return dcaptest.PEM(pck) + "text\n" + dcaptest.PEM(ca, root)
		}), dcap.ErrCertificate, "not 3 certificates in PEM"},
		{"text after", chain(func(_ *dcaptest.Machine, root, ca, pck *x509.Certificate) string {
			return dcaptest.PEM(pck, ca, root) + "text"
		}), dcap.ErrCertificate, "not 3 certificates in PEM"},
		{"PEM headers", chain(func(_ *dcaptest.Machine, root, ca, pck *x509.Certificate) string {
			const begin = "-----BEGIN CERTIFICATE-----\n"
			return strings.Replace(dcaptest.PEM(pck, ca, root), begin, begin+"Name: value\n\n", 1)
		}), dcap.ErrCertificate, "not 3 certificates in PEM"},
		{"TCB chain for the quote", chain(func(m *dcaptest.Machine, root, ca, _ *x509.Certificate) string {
			return dcaptest.PEM(m.TCBSigner(root), ca, root)
		}), dcap.ErrCertificate, `as PCK: its name is "Intel SGX TCB Signing"`},
		{"PCK signs for Intel", func(m *dcaptest.Machine) {
			root := m.Root()
			ca := m.PCKCA(root)
			m.EditCollateral = func(c *dcap.Collateral) { c.TCBInfoIssuerChain = dcaptest.PEM(m.PCK(ca), ca, root) }
		}, dcap.ErrCertificate, "issuer of the TCB info: certificate is not accepted: chain is not 2"},
		{"long chain", func(m *dcaptest.Machine) {
			m.EditCollateral = func(c *dcap.Collateral) { c.TCBInfoIssuerChain += strings.Repeat("\n", dcap.MaxChainBytes) }
		}, dcap.ErrCertificate, "chain has"},
	})
}

func TestRefusedExtensions(t *testing.T) {
	with := func(of func(p *dcaptest.Platform) []dcaptest.Attribute) change {
		return func(m *dcaptest.Machine) { m.Platform.Extension = dcaptest.Encode(of(&m.Platform)).FullBytes }
	}
	without := func(i int) change {
		return with(func(p *dcaptest.Platform) []dcaptest.Attribute {
			all := p.Attributes()
			return append(all[:i:i], all[i+1:]...)
		})
	}
	set := func(i int, value any) change {
		return with(func(p *dcaptest.Platform) []dcaptest.Attribute {
			all := p.Attributes()
			all[i].Value = value
			return all
		})
	}
	checkRefusals(t, []refusal{
		{"no bytes", func(m *dcaptest.Machine) { m.Platform.Extension = []byte{} }, dcap.ErrCertificate, "SGX extension of the PCK certificate: 1.2.840.113741.1.13.1 is no sequence"},
		{"bytes after", func(m *dcaptest.Machine) {
			m.Platform.Extension = append(dcaptest.Encode(m.Platform.Attributes()).FullBytes, 0)
		}, dcap.ErrCertificate, "is no sequence of attributes"},
		{"no TCB", without(1), dcap.ErrCertificate, "1.2.840.113741.1.13.1.2 is no sequence"},
		{"no PCEID", without(2), dcap.ErrCertificate, "no PCEID of 2 bytes"},
		{"no FMSPC", without(3), dcap.ErrCertificate, "no FMSPC of 6 bytes"},
		{"long FMSPC", set(3, make([]byte, 7)), dcap.ErrCertificate, "no FMSPC of 6 bytes"},
		{"FMSPC that is a number", set(3, 6), dcap.ErrCertificate, "no FMSPC of 6 bytes"},
		{"TCB of nothing", set(1, dcaptest.Encode(nil)), dcap.ErrCertificate, "no TCB number 1 from 0 to 255"},
		{"component of 256", func(m *dcaptest.Machine) { m.Platform.Components[3] = 256 }, dcap.ErrCertificate, "no TCB number 4 from 0 to 255"},
		{"component below 0", func(m *dcaptest.Machine) { m.Platform.Components[15] = -1 }, dcap.ErrCertificate, "no TCB number 16 from 0 to 255"},
		{"PCESVN of 17 bits", func(m *dcaptest.Machine) { m.Platform.PCESVN = 1 << 16 }, dcap.ErrCertificate, "no TCB number 17 from 0 to 65535"},
		{"given twice", with(func(p *dcaptest.Platform) []dcaptest.Attribute {
			return append(p.Attributes(), dcaptest.Attribute{ID: dcaptest.OID(4), Value: make([]byte, 6)})
		}), dcap.ErrCertificate, "attribute 1.2.840.113741.1.13.1.4 is given twice"},
		{"another arc", with(func(p *dcaptest.Platform) []dcaptest.Attribute {
			return append(p.Attributes(), dcaptest.Attribute{ID: asn1.ObjectIdentifier{1, 2, 3}, Value: 1})
		}), dcap.ErrCertificate, "attribute 1.2.3 is not below"},
	})
}

func TestRefusedRevocation(t *testing.T) {
	revoke := func(list string, serial int64) change {
		return func(m *dcaptest.Machine) { m.Revoked[list] = []int64{99, serial} }
	}
	list := func(which string, edit func(*x509.RevocationList)) change {
		return func(m *dcaptest.Machine) { m.EditList[which] = edit }
	}
	collateral := func(edit func(*dcap.Collateral)) change {
		return func(m *dcaptest.Machine) { m.EditCollateral = edit }
	}
	partial := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}
	checkRefusals(t, []refusal{
		{"PCK", revoke("ca", dcaptest.SerialPCK), dcap.ErrRevoked, `"Intel SGX PCK Certificate", serial number 3, is on the revocation list of the PCK CA`},
		{"CA", revoke("root", dcaptest.SerialCA), dcap.ErrRevoked, `"Intel SGX PCK Processor CA", serial number 2, is on the revocation list of the root`},
		{"TCB signer", revoke("root", dcaptest.SerialTCB), dcap.ErrRevoked, `"Intel SGX TCB Signing", serial number 4`},
		{"no root list", collateral(func(c *dcap.Collateral) { c.RootCACRL = nil }), dcap.ErrCollateral, "revocation list of the root has 0 bytes"},
		{"no PCK list", collateral(func(c *dcap.Collateral) { c.PCKCRL = nil }), dcap.ErrCollateral, "revocation list of the PCK CA has 0 bytes"},
		{"no issuer", collateral(func(c *dcap.Collateral) { c.PCKCRLIssuerChain = "" }), dcap.ErrCertificate, "issuer of the PCK revocation list"},
		{"issuer without root", collateral(func(c *dcap.Collateral) { c.PCKCRLIssuerChain = c.TCBInfoIssuerChain }), dcap.ErrCertificate, "as PCK CA"},
		{"large list", collateral(func(c *dcap.Collateral) { c.PCKCRL = make([]byte, dcap.MaxCRLBytes+1) }), dcap.ErrCollateral, "has 32769 bytes, want 1 to 32768"},
		{"malformed list", collateral(func(c *dcap.Collateral) { c.PCKCRL = c.PCKCRL[:40] }), dcap.ErrCollateral, "PCK CA is malformed"},
		{"bytes after the list", collateral(func(c *dcap.Collateral) { c.PCKCRL = append(c.PCKCRL, 0) }), dcap.ErrCollateral, "is malformed"},
		{"the other list", collateral(func(c *dcap.Collateral) { c.PCKCRL = c.RootCACRL }), dcap.ErrCollateral, `PCK CA is of "Intel SGX Root CA", not of`},
		{"lists swapped", collateral(func(c *dcap.Collateral) { c.PCKCRL, c.RootCACRL = c.RootCACRL, c.PCKCRL }), dcap.ErrCollateral, "revocation list of the root is of"},
		{"partial list", list("ca", func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{partial} }), dcap.ErrCollateral, "unknown critical extension 2.5.29.28"},
		{"SHA-512", list("ca", func(l *x509.RevocationList) { l.SignatureAlgorithm = x509.ECDSAWithSHA512 }), dcap.ErrCollateral, "PCK CA is signed by ECDSA-SHA512"},
	})
}

// The lists must be of the very issuers of the quote's certificates.
func TestRefusedLists(t *testing.T) {
	platform := dcaptest.New()
	platform.Edit["ca"] = func(c *x509.Certificate) { c.Subject.CommonName = "Intel SGX PCK Platform CA" }
	checkRefusals(t, []refusal{{"of the other CA", func(m *dcaptest.Machine) {
		m.RootCert = m.Root()
		platform.RootCert = m.RootCert
		_, other := platform.Make(nil)
		m.EditCollateral = func(c *dcap.Collateral) { *c = other }
	}, dcap.ErrBinding, `PCK certificate is of "Intel SGX PCK Processor CA", revocation list of "Intel SGX PCK Platform CA"`}})
	m, elsewhere := dcaptest.New(), dcaptest.New()
	elsewhere.Keys.Root = dcaptest.NewKey()
	m.RootCert, elsewhere.RootCert = m.Root(), elsewhere.Root()
	quote, _ := m.Make(nil)
	_, c := elsewhere.Make(nil)
	o := m.Options()
	o.Roots = append(o.Roots, elsewhere.RootCert)
	_, err := dcap.New(o).Quote(ctx, quote, c)
	refused(t, "of another root that is trusted too", err, dcap.ErrBinding, "different roots")
}

// Chains that speak for the same signer each have dates of their own.
func TestRefusedChainDates(t *testing.T) {
	for role, edit := range map[string]func(c, other *dcap.Collateral){
		"tcb": func(c, other *dcap.Collateral) { c.QEIdentityIssuerChain = other.QEIdentityIssuerChain },
		"ca":  func(c, other *dcap.Collateral) { c.PCKCRLIssuerChain = other.PCKCRLIssuerChain },
	} {
		m, quote, v := world(nil)
		_, c := m.Make(nil)
		m.Edit[role] = func(c *x509.Certificate) { c.NotAfter = m.Now.AddDate(0, 0, -1) }
		_, other := m.Make(nil)
		edit(&c, &other)
		_, err := v.Quote(ctx, quote, c)
		refused(t, role, err, dcap.ErrDate, "was valid until 2026-01-14")
	}
}

// A name that the issuer does not have is refused, though the key is his.
func TestRefusedIssuerName(t *testing.T) {
	m, _, v := world(nil)
	pck := m.PCK(m.PCKCA(m.RootCert))
	m.Edit["ca"] = func(c *x509.Certificate) { c.Subject.CommonName = "Intel SGX PCK Platform CA" }
	m.Quoted.Type, m.Quoted.Certification = 5, []byte(dcaptest.PEM(pck, m.PCKCA(m.RootCert), m.RootCert))
	quote, c := m.Make(nil)
	_, err := v.Quote(ctx, quote, c)
	refused(t, "issuer", err, dcap.ErrCertificate, `as PCK: its issuer is "Intel SGX PCK Processor CA", not "Intel SGX PCK Platform CA"`)
}

func TestRefusedDates(t *testing.T) {
	days := func(from, until int) func(*dcaptest.Machine, *time.Time, *time.Time) {
		return func(m *dcaptest.Machine, a, b *time.Time) {
			*a, *b = m.Now.AddDate(0, 0, from), m.Now.AddDate(0, 0, until)
		}
	}
	cert := func(role string, set func(*dcaptest.Machine, *time.Time, *time.Time)) change {
		return func(m *dcaptest.Machine) {
			m.Edit[role] = func(c *x509.Certificate) { set(m, &c.NotBefore, &c.NotAfter) }
		}
	}
	list := func(which string, set func(*dcaptest.Machine, *time.Time, *time.Time)) change {
		return func(m *dcaptest.Machine) {
			m.EditList[which] = func(l *x509.RevocationList) { set(m, &l.ThisUpdate, &l.NextUpdate) }
		}
	}
	statement := func(of func(m *dcaptest.Machine) map[string]any, from, until int) change {
		return func(m *dcaptest.Machine) { of(m)["issueDate"], of(m)["nextUpdate"] = m.Date(from), m.Date(until) }
	}
	tcb := func(m *dcaptest.Machine) map[string]any { return m.TCBInfo }
	qe := func(m *dcaptest.Machine) map[string]any { return m.QE }
	past, future := days(-20, -1), days(1, 20)
	checkRefusals(t, []refusal{
		{"root expired", cert("root", past), dcap.ErrDate, `"Intel SGX Root CA" was valid until 2026-01-14`},
		{"root too early", cert("root", future), dcap.ErrDate, `"Intel SGX Root CA" is valid from 2026-01-16`},
		{"CA expired", cert("ca", past), dcap.ErrDate, `"Intel SGX PCK Processor CA" was valid until`},
		{"CA too early", cert("ca", future), dcap.ErrDate, `"Intel SGX PCK Processor CA" is valid from`},
		{"PCK expired", cert("pck", past), dcap.ErrDate, `"Intel SGX PCK Certificate" was valid until`},
		{"PCK too early", cert("pck", future), dcap.ErrDate, `"Intel SGX PCK Certificate" is valid from`},
		{"TCB signer expired", cert("tcb", past), dcap.ErrDate, `"Intel SGX TCB Signing" was valid until`},
		{"TCB signer too early", cert("tcb", future), dcap.ErrDate, `"Intel SGX TCB Signing" is valid from`},
		{"root list expired", list("root", past), dcap.ErrDate, "revocation list of the root was valid until"},
		{"root list too early", list("root", future), dcap.ErrDate, "revocation list of the root is valid from"},
		{"PCK list expired", list("ca", past), dcap.ErrDate, "revocation list of the PCK CA was valid until"},
		{"PCK list too early", list("ca", future), dcap.ErrDate, "revocation list of the PCK CA is valid from"},
		{"TCB info expired", statement(tcb, -20, -1), dcap.ErrDate, "TCB info was valid until"},
		{"TCB info too early", statement(tcb, 1, 20), dcap.ErrDate, "TCB info is valid from"},
		{"QE identity expired", statement(qe, -20, -1), dcap.ErrDate, "QE identity was valid until"},
		{"QE identity too early", statement(qe, 1, 20), dcap.ErrDate, "QE identity is valid from"},
		{"TCB info without dates", func(m *dcaptest.Machine) { delete(m.TCBInfo, "nextUpdate") }, dcap.ErrDate, "TCB info was valid until 0001"},
		{"a date that is none", func(m *dcaptest.Machine) { m.TCBInfo["issueDate"] = "yesterday" }, dcap.ErrCollateral, "TCB info: parsing time"},
	})
}

func TestRefusedTCBInfo(t *testing.T) {
	field := func(name string, value any) change { return func(m *dcaptest.Machine) { m.TCBInfo[name] = value } }
	gone := func(name string) change { return func(m *dcaptest.Machine) { delete(m.TCBInfo, name) } }
	level := func(edit func(l, tcb map[string]any)) change {
		return func(m *dcaptest.Machine) {
			l := dcaptest.Level(5, 13, "UpToDate")
			edit(l, l["tcb"].(map[string]any))
			m.TCBInfo["tcbLevels"] = []any{l}
		}
	}
	two := func(edit func(tcb map[string]any)) change {
		return func(m *dcaptest.Machine) { tcbInfo2(m); edit(level2(m)) }
	}
	checkRefusals(t, []refusal{
		{"none", func(m *dcaptest.Machine) { m.EditCollateral = func(c *dcap.Collateral) { c.TCBInfo = "" } }, dcap.ErrCollateral, "TCB info has 0 bytes"},
		{"too long", field("more", strings.Repeat("x", dcap.MaxStatementBytes)), dcap.ErrCollateral, "TCB info has"},
		{"version 1", field("version", 1), dcap.ErrCollateral, "TCB info of version 1, want 2 or 3"},
		{"version 4", field("version", 4), dcap.ErrCollateral, "TCB info of version 4"},
		{"TDX", field("id", "TDX"), dcap.ErrCollateral, `TCB info is of "TDX", want SGX`},
		{"no id in version 3", gone("id"), dcap.ErrCollateral, `TCB info is of "", want SGX`},
		{"TCB type 1", field("tcbType", 1), dcap.ErrCollateral, "no TCB type 0"},
		{"no TCB type", gone("tcbType"), dcap.ErrCollateral, "no TCB type 0"},
		{"no number", gone("tcbEvaluationDataNumber"), dcap.ErrCollateral, "TCB info has no evaluation data number"},
		{"negative number", field("tcbEvaluationDataNumber", -1), dcap.ErrCollateral, "TCB info: json"},
		{"FMSPC of another platform", field("fmspc", "00606A000000"), dcap.ErrBinding, "platform has FMSPC 0090C06F0000, TCB info is for 00606A000000"},
		{"short FMSPC", field("fmspc", "00606A"), dcap.ErrCollateral, `FMSPC "00606A" is not 6 bytes`},
		{"PCEID of another", field("pceId", "0001"), dcap.ErrBinding, "platform has PCEID 0000, TCB info is for 0001"},
		{"no PCEID", gone("pceId"), dcap.ErrCollateral, "PCEID"},
		{"no levels", field("tcbLevels", []any{}), dcap.ErrCollateral, "TCB info has 0 levels, want 1 to 256"},
		{"many levels", func(m *dcaptest.Machine) {
			all := make([]map[string]any, dcap.MaxLevels+1)
			for i := range all {
				all[i] = map[string]any{"tcbStatus": ""}
			}
			m.TCBInfo["tcbLevels"] = all
		}, dcap.ErrCollateral, "TCB info has 257 levels"},
		{"unreached", field("tcbLevels", []any{dcaptest.Level(6, 13, "UpToDate")}), dcap.ErrTCB, "reach none of 1 levels"},
		{"PCESVN unreached", field("tcbLevels", []any{dcaptest.Level(5, 14, "UpToDate")}), dcap.ErrTCB, "with PCESVN 13 reach none"},
		{"unknown status", level(func(l, _ map[string]any) { l["tcbStatus"] = "Fine" }), dcap.ErrCollateral, `unknown TCB status "Fine"`},
		{"no status", level(func(l, _ map[string]any) { delete(l, "tcbStatus") }), dcap.ErrCollateral, `unknown TCB status ""`},
		{"status in another case", level(func(l, _ map[string]any) { l["tcbStatus"] = "uptodate" }), dcap.ErrCollateral, `unknown TCB status "uptodate"`},
		{"many advisories", level(func(l, _ map[string]any) { l["advisoryIDs"] = make([]string, dcap.MaxAdvisories+1) }), dcap.ErrCollateral, "257 advisories"},
		{"long advisory", level(func(l, _ map[string]any) { l["advisoryIDs"] = []string{strings.Repeat("x", 65)} }), dcap.ErrCollateral, "has 65 bytes, at most 64"},
		{"15 components", level(func(_, tcb map[string]any) {
			tcb["sgxtcbcomponents"] = tcb["sgxtcbcomponents"].([]map[string]any)[1:]
		}), dcap.ErrCollateral, "15 components, want 16"},
		{"component without number", level(func(_, tcb map[string]any) { tcb["sgxtcbcomponents"].([]map[string]any)[2]["svn"] = nil }), dcap.ErrCollateral, "no component 3"},
		{"component of 256", level(func(_, tcb map[string]any) { tcb["sgxtcbcomponents"].([]map[string]any)[2]["svn"] = 256 }), dcap.ErrCollateral, "TCB level: json"},
		{"no pcesvn", level(func(_, tcb map[string]any) { delete(tcb, "pcesvn") }), dcap.ErrCollateral, "no pcesvn"},
		{"version 2 without a component", two(func(tcb map[string]any) { delete(tcb, "sgxtcbcomp16svn") }), dcap.ErrCollateral, "no sgxtcbcomp16svn"},
		{"version 2 with null", two(func(tcb map[string]any) { tcb["sgxtcbcomp01svn"] = nil }), dcap.ErrCollateral, "no sgxtcbcomp01svn"},
		{"version 2 in the form of 3", field("version", 2), dcap.ErrCollateral, "no sgxtcbcomp01svn"},
	})
}

func TestRefusedQE(t *testing.T) {
	field := func(name string, value any) change { return func(m *dcaptest.Machine) { m.QE[name] = value } }
	report := func(offset int, value byte) change {
		return func(m *dcaptest.Machine) { m.Quoted.QEReport[offset] ^= value }
	}
	checkRefusals(t, []refusal{
		{"version 1", field("version", 1), dcap.ErrCollateral, "QE identity of version 1, want 2"},
		{"of the quote verification enclave", field("id", "QVE"), dcap.ErrCollateral, `QE identity is of "QVE", want QE`},
		{"of TDX", field("id", "TD_QE"), dcap.ErrCollateral, `QE identity is of "TD_QE"`},
		{"no product", field("isvprodid", nil), dcap.ErrCollateral, "QE identity has no product ID"},
		{"no number", field("tcbEvaluationDataNumber", nil), dcap.ErrCollateral, "QE identity has no evaluation data number"},
		{"short mask", field("attributesMask", "FF"), dcap.ErrCollateral, `attributesMask "FF" is not 16 bytes`},
		{"no signer", field("mrsigner", ""), dcap.ErrCollateral, "mrsigner"},
		{"no levels", field("tcbLevels", nil), dcap.ErrCollateral, "QE identity has 0 levels"},
		{"level without number", field("tcbLevels", []any{map[string]any{"tcb": map[string]any{}, "tcbStatus": "UpToDate"}}), dcap.ErrCollateral, "no isvsvn"},
		{"unknown status", field("tcbLevels", []any{dcaptest.QELevel(1, "Good")}), dcap.ErrCollateral, `unknown TCB status "Good"`},
		{"signer", report(dcaptest.OffsetSigner, 1), dcap.ErrQE, "it is signed by"},
		{"product", report(dcaptest.OffsetProduct, 3), dcap.ErrQE, "it is product 2, want 1"},
		{"MISCSELECT", report(dcaptest.OffsetMisc+3, 1), dcap.ErrQE, "its MISCSELECT is 00000001"},
		{"debug", report(dcaptest.OffsetAttributes, 2), dcap.ErrQE, "its attributes are 17"},
		{"no provisioning key", report(dcaptest.OffsetAttributes, 0x10), dcap.ErrQE, "its attributes are 05"},
		{"old", report(dcaptest.OffsetSVN, 13), dcap.ErrQE, "its security version 5 reaches none of 2 levels"},
	})
}

// The 64-bit attribute of the quoting enclave is outside of the mask.
func TestMask(t *testing.T) {
	m := dcaptest.New()
	m.Quoted.QEReport[dcaptest.OffsetAttributes] ^= 4
	if _, err := verify(m); err != nil {
		t.Error(err)
	}
}

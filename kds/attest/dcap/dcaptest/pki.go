package dcaptest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"time"
)

func name(common string) pkix.Name {
	return pkix.Name{CommonName: common, Organization: []string{"Intel Corporation"}, Locality: []string{"Santa Clara"},
		Province: []string{"CA"}, Country: []string{"US"}}
}

// template is a certificate valid for years around now.
func (m *Machine) template(common string, serial int64, key *ecdsa.PrivateKey) *x509.Certificate {
	id := sha1.Sum(point(key))
	return &x509.Certificate{Subject: name(common), SerialNumber: big.NewInt(serial), PublicKey: key.Public(),
		SubjectKeyId: id[:], BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
		NotBefore: m.Now.AddDate(-5, 0, 0).Truncate(time.Second), NotAfter: m.Now.AddDate(5, 0, 0).Truncate(time.Second)}
}

func point(k *ecdsa.PrivateKey) []byte {
	b, err := k.PublicKey.Bytes()
	must(err)
	return b
}

// issue signs a template.
func (m *Machine) issue(role string, t, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	if edit := m.Edit[role]; edit != nil {
		edit(t)
	}
	signed := *parent
	if other := m.SignedBy[role]; other != nil {
		key = other
	}
	signed.PublicKey = key.Public()
	der, err := x509.CreateCertificate(rand.Reader, t, &signed, t.PublicKey, key)
	must(err)
	c, err := x509.ParseCertificate(der)
	must(err)
	return c
}

func ca(t *x509.Certificate, pathLen int) *x509.Certificate {
	t.IsCA, t.MaxPathLen, t.MaxPathLenZero = true, pathLen, pathLen == 0
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return t
}

// Root is the machine's root: RootCert, or else a new one.
func (m *Machine) Root() *x509.Certificate {
	if m.RootCert != nil {
		return m.RootCert
	}
	t := ca(m.template("Intel SGX Root CA", SerialRoot, m.Keys.Root), 1)
	return m.issue("root", t, t, m.Keys.Root)
}

// PCKCA is the issuer of the machine's certificate.
func (m *Machine) PCKCA(root *x509.Certificate) *x509.Certificate {
	return m.issue("ca", ca(m.template("Intel SGX PCK Processor CA", SerialCA, m.Keys.CA), 0), root, m.Keys.Root)
}

// PCK is the machine's certificate.
func (m *Machine) PCK(issuer *x509.Certificate) *x509.Certificate {
	t := m.template("Intel SGX PCK Certificate", SerialPCK, m.Keys.PCK)
	t.ExtraExtensions = []pkix.Extension{{Id: oidSGX, Value: m.Platform.extension()}}
	return m.issue("pck", t, issuer, m.Keys.CA)
}

// TCBSigner signs TCB info and QE identity.
func (m *Machine) TCBSigner(root *x509.Certificate) *x509.Certificate {
	return m.issue("tcb", m.template("Intel SGX TCB Signing", SerialTCB, m.Keys.TCB), root, m.Keys.Root)
}

// PEM is a chain, leaf first.
func PEM(chain ...*x509.Certificate) string {
	var text []byte
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return string(text)
}

// list is a revocation list, "root" or "ca".
func (m *Machine) list(which string, issuer *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	t := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: m.Now.AddDate(0, 0, -10), NextUpdate: m.Now.AddDate(0, 0, 20)}
	for _, serial := range m.Revoked[which] {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: t.ThisUpdate})
	}
	if edit := m.EditList[which]; edit != nil {
		edit(t)
	}
	signer := *issuer
	if other := m.SignedBy["list of "+which]; other != nil {
		key = other
	}
	signer.PublicKey = key.Public()
	signer.KeyUsage |= x509.KeyUsageCRLSign
	der, err := x509.CreateRevocationList(rand.Reader, t, &signer, key)
	must(err)
	return der
}

var oidSGX = asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}

// OID is a name below the extension's.
func OID(below ...int) asn1.ObjectIdentifier {
	return append(oidSGX[:len(oidSGX):len(oidSGX)], below...)
}

// Attribute is one name and value in the extension.
type Attribute struct {
	ID    asn1.ObjectIdentifier
	Value any
}

// Attributes are what the extension holds.
func (p Platform) Attributes() []Attribute {
	var tcb []Attribute
	cpusvn := make([]byte, 16)
	for i, svn := range p.Components {
		tcb = append(tcb, Attribute{OID(2, i+1), svn})
		cpusvn[i] = byte(svn)
	}
	tcb = append(tcb, Attribute{OID(2, 17), p.PCESVN}, Attribute{OID(2, 18), cpusvn})
	return []Attribute{{OID(1), make([]byte, 16)}, {OID(2), Encode(tcb)}, {OID(3), p.PCEID[:]}, {OID(4), p.FMSPC[:]}, {OID(5), asn1.Enumerated(0)}}
}

func (p Platform) extension() []byte {
	if p.Extension != nil {
		return p.Extension
	}
	return Encode(p.Attributes()).FullBytes
}

// Encode is a sequence of attributes.
func Encode(all []Attribute) asn1.RawValue {
	var inner []byte
	for _, a := range all {
		b, err := asn1.Marshal(struct {
			ID    asn1.ObjectIdentifier
			Value any
		}{a.ID, a.Value})
		must(err)
		inner = append(inner, b...)
	}
	v := asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: inner}
	full, err := asn1.Marshal(v)
	must(err)
	v.FullBytes = full
	return v
}

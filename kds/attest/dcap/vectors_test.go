package dcap_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
)

// The real quotes in testdata/quotes, as its README describes them.

var ctx = context.Background()

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../testdata/quotes", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// phala is the collateral of three of the sets.
func phala(t testing.TB) dcap.Collateral {
	t.Helper()
	c, err := dcap.ParseCollateral(read(t, "phala-sgx/sgx_quote_collateral.json"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// signed takes the JSON of Intel's service apart: {"NAME": TEXT, "signature": HEX}.
func signed(t testing.TB, file, name string) (string, dcap.Hex) {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(read(t, file), &fields); err != nil {
		t.Fatal(err)
	}
	signature, err := hex.DecodeString(strings.Trim(string(fields["signature"]), `"`))
	if err != nil {
		t.Fatal(err)
	}
	return string(fields[name]), signature
}

func oasis(t testing.TB) (c dcap.Collateral) {
	t.Helper()
	c.TCBInfo, c.TCBInfoSignature = signed(t, "oasis-sgx/tcb_info_v3_fmspc_00606A000000.json", "tcbInfo")
	c.QEIdentity, c.QEIdentitySignature = signed(t, "oasis-sgx/qe_identity_v2.json", "enclaveIdentity")
	c.TCBInfoIssuerChain = string(read(t, "oasis-sgx/tcb_info_v3_fmspc_00606A000000_certs.pem"))
	c.QEIdentityIssuerChain = c.TCBInfoIssuerChain
	return c
}

func sample(t testing.TB) (c dcap.Collateral, o dcap.Options) {
	t.Helper()
	c.TCBInfo, c.TCBInfoSignature = signed(t, "intel-sample/tcbInfo.json", "tcbInfo")
	c.QEIdentity, c.QEIdentitySignature = signed(t, "intel-sample/qeIdentity.json", "enclaveIdentity")
	c.TCBInfoIssuerChain = string(read(t, "intel-sample/tcbSignChain.pem"))
	c.QEIdentityIssuerChain = c.TCBInfoIssuerChain
	c.PCKCRLIssuerChain = string(read(t, "intel-sample/pckSignChain.pem"))
	c.PCKChain = string(read(t, "intel-sample/pckCert.pem")) + c.PCKCRLIssuerChain
	c.RootCACRL, c.PCKCRL = read(t, "intel-sample/rootCaCrl.der"), read(t, "intel-sample/intermediateCaCrl.der")
	o.Roots = []*x509.Certificate{certificate(t, "intel-sample/trustedRootCaCert.pem")}
	return c, o
}

func certificate(t testing.TB, file string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(read(t, file))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// at is a clock that stands.
func at(text string) func() time.Time {
	stands, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return func() time.Time { return stands }
}

const (
	phalaDay  = "2025-06-20T00:00:00Z"
	phalaData = "48656c6c6f2c20776f726c6421"
)

// vector is a quote with what its README says of it.
type vector struct {
	name       string
	quote      []byte
	c          dcap.Collateral
	o          dcap.Options
	noLists    bool
	at         string
	status     dcap.Status
	advisories []string
	platform   string // FMSPC and CA
	id         attest.Identity
}

func (v vector) verifier(time string) *dcap.Verifier {
	v.o.Now = at(time)
	if v.noLists {
		return dcap.WithoutLists(v.o)
	}
	return dcap.New(v.o)
}

func vectors(t testing.TB) []vector {
	t.Helper()
	hardening := []string{"INTEL-SA-00289", "INTEL-SA-00615"}
	id := func(code, signer string, product uint16, svn int32, issued string) attest.Identity {
		return attest.Identity{CodeHash: attest.Hash(strings.ToUpper(code)), SignerHash: attest.Hash(strings.ToUpper(signer)),
			ProductID: product, RevocationLevel: svn - 1, Level: attest.Stale, Mode: attest.Release, Timestamp: at(issued)()}
	}
	const issued = "2025-06-19T10:01:18Z" // of the QE identity, the older one
	debug := id("a39d532e6ac9fe8ad9418851bbe26e1dee7408006505fce8580b511b97e704b4",
		"9affcfae47b848ec2caf1c49b4b283531e1cc425f93582b36806e52a43d78d1a", 0, 0, issued)
	debug.Mode, debug.Level = attest.Debug, attest.Insecure
	trusted, own := sample(t)
	zeros := strings.Repeat("0", 64)
	upToDate := id(zeros, zeros, 0, 0, "2019-09-05T07:47:07Z")
	upToDate.Level = attest.Secure
	return []vector{
		{name: "phala", quote: read(t, "phala-sgx/sgx_quote"), c: phala(t), at: phalaDay,
			status: dcap.ConfigurationAndSWHardeningNeeded, advisories: hardening, platform: "00A067110000 processor",
			id: id("33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb",
				"815f42f11cf64430c30bab7816ba596a1da0130c3b028b673133a66cf9a3e0e6", 0, 0, issued)},
		{name: "debug", quote: read(t, "phala-sgx/automata_quote_sgx_debug.bin"), c: phala(t), at: phalaDay,
			status: dcap.ConfigurationAndSWHardeningNeeded, advisories: hardening, platform: "00A067110000 processor", id: debug},
		{name: "oasis", quote: read(t, "oasis-sgx/quote_v3_ecdsa_p256_pck_chain.bin"), c: oasis(t), noLists: true, at: "2022-12-20T00:50:04Z",
			status: dcap.SWHardeningNeeded, advisories: []string{"INTEL-SA-00615", "INTEL-SA-00657"}, platform: "00606A000000 platform",
			id: id("68823bc62f409ee33a32ea270cfe45d4b19a6fb3c8570d7bc186cbe062398e8f",
				"9affcfae47b848ec2caf1c49b4b283531e1cc425f93582b36806e52a43d78d1a", 0, 0, "2022-12-16T12:45:36Z")},
		{name: "sample", quote: read(t, "intel-sample/quote.dat"), c: trusted, o: own, at: "2023-01-01T00:00:00Z",
			status: dcap.UpToDate, platform: "00707F000000 processor", id: upToDate},
	}
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		got, err := v.verifier(v.at).Quote(ctx, v.quote, v.c)
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		if got.Status != v.status || !slices.Equal(got.Advisories, v.advisories) {
			t.Errorf("%s: %s %v", v.name, got.Status, got.Advisories)
		}
		if platform := got.Platform.FMSPC.String() + " " + string(got.Platform.CA); platform != v.platform {
			t.Errorf("%s: platform %s", v.name, platform)
		}
		if got.Identity != v.id {
			t.Errorf("%s:\n%+v, want\n%+v", v.name, got.Identity, v.id)
		}
		if v.name == "phala" && hex.EncodeToString(bytes.TrimRight(got.ReportData[:], "\x00")) != phalaData {
			t.Errorf("report data %x", got.ReportData)
		}
	}
}

// Each vector is right on the first and the last second of its window, and
// wrong a second before and after.
func TestVectorWindows(t *testing.T) {
	windows := map[string][2]string{
		"phala": {"2025-06-19T10:56:11Z", "2025-07-19T10:01:18Z"}, "debug": {"2025-06-19T10:56:11Z", "2025-07-19T10:01:18Z"},
		"oasis": {"2022-12-19T09:40:10Z", "2023-01-15T12:45:36Z"}, "sample": {"2019-09-05T07:47:08Z", "2026-08-28T11:36:55Z"}}
	for _, v := range vectors(t) {
		for i, end := range windows[v.name] {
			outside := at(end)().Add(time.Duration(2*i-1) * time.Second).Format(time.RFC3339)
			if _, err := v.verifier(end).Quote(ctx, v.quote, v.c); err != nil {
				t.Errorf("%s at %s: %v", v.name, end, err)
			}
			if _, err := v.verifier(outside).Quote(ctx, v.quote, v.c); !errors.Is(err, dcap.ErrDate) {
				t.Errorf("%s at %s: %v", v.name, outside, err)
			}
		}
	}
}

// The roots are not each other's.
func TestVectorsOtherRoot(t *testing.T) {
	all := vectors(t)
	for _, v := range all {
		v.o.Roots = all[3].o.Roots
		if v.name == "sample" {
			v.o.Roots = nil
		}
		_, err := v.verifier(v.at).Quote(ctx, v.quote, v.c)
		refused(t, v.name, err, dcap.ErrRoot, `PCK chain: root is not trusted: "Intel SGX Root CA" with SHA-256`)
	}
}

// Collateral and its revocation lists must not be left out.
func TestVectorsIncomplete(t *testing.T) {
	v := vectors(t)[0]
	_, err := v.verifier(v.at).Quote(ctx, v.quote, dcap.Collateral{})
	refused(t, "no collateral", err, dcap.ErrCollateral, "TCB info has 0 bytes")
	v = vectors(t)[2]
	v.noLists = false
	_, err = v.verifier(v.at).Quote(ctx, v.quote, v.c)
	refused(t, "no lists", err, dcap.ErrCertificate, "issuer of the PCK revocation list")
}

// refused is a refusal that says which check failed.
func refused(t *testing.T, what string, err, target error, text string) {
	t.Helper()
	if !errors.Is(err, target) || !errors.Is(err, attest.ErrEvidence) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want %v with %q", what, err, target, text)
	}
}

// The collateral of one platform does not serve another.
func TestVectorsSwapped(t *testing.T) {
	phala, oasis := vectors(t)[0], vectors(t)[2]
	_, err := phala.verifier(oasis.at).Quote(ctx, phala.quote, oasis.c)
	refused(t, "oasis' collateral without lists", err, dcap.ErrCertificate, "chain of 0")
	oasis.noLists = true
	_, err = oasis.verifier("2025-05-07T00:00:00Z").Quote(ctx, oasis.quote, phala.c)
	refused(t, "of a later day", err, dcap.ErrDate, "TCB info")
	_, err = oasis.verifier(phala.at).Quote(ctx, oasis.quote, phala.c)
	refused(t, "of another FMSPC", err, dcap.ErrBinding, "platform has FMSPC 00606A000000, TCB info is for 00A067110000")
}

func TestEncryptedPPID(t *testing.T) {
	b := read(t, "oasis-sgx/quote_v3_ecdsa_p256_eppid.bin")
	q, err := dcap.ParseQuote(b)
	if err != nil || q.Certification.Type != 3 {
		t.Fatalf("%+v, %v", q.Certification, err)
	}
	c := oasis(t)
	_, err = dcap.WithoutLists(dcap.Options{Now: at("2022-12-20T00:50:04Z")}).Quote(ctx, b, c)
	refused(t, "encrypted PPID", err, dcap.ErrQuote, "type 3 (PPID encrypted by RSA-3072), want certification data of type 5")
	c.PCKChain = string(read(t, "intel-sample/pckCert.pem")) + string(read(t, "intel-sample/pckSignChain.pem"))
	_, err = dcap.WithoutLists(dcap.Options{Now: at("2022-12-20T00:50:04Z")}).Quote(ctx, b, c)
	refused(t, "encrypted PPID with a chain beside", err, dcap.ErrQuote, "type 3")
}

// The sample names its PCK by a PPID: it needs the chain beside, and that of
// its own PCK.
func TestPlainPPID(t *testing.T) {
	v := vectors(t)[3]
	beside := v.c.PCKChain
	v.c.PCKChain = ""
	_, err := v.verifier(v.at).Quote(ctx, v.quote, v.c)
	refused(t, "no chain", err, dcap.ErrQuote, "no PCK chain beside the quote")
	v.c.PCKChain = beside + beside
	_, err = v.verifier(v.at).Quote(ctx, v.quote, v.c)
	refused(t, "two chains", err, dcap.ErrCertificate, "not 3 certificates")
}

// Real certificates of EGo's attested TLS.
func TestCertificates(t *testing.T) {
	for _, file := range []string{"ego-ratls-cert/sample.pem", "ego-ratls-cert/sample2.pem"} {
		cert := certificate(t, file)
		v := dcap.New(dcap.Options{Now: at(phalaDay)})
		got, err := v.Certificate(ctx, cert, phala(t))
		if err != nil {
			t.Fatal(file, err)
		}
		want := "C:DF2493C11FC01708AF6913323B64E20AE84B12779DBE44BA428DA66DFC4488F5 " +
			"S:976AA9F931B8A16E01E01895D627E3EE96DCE5478EBBBC77E120A25C79FE6016 PROD:1 REVOKE:0 SEC:STALE (release)"
		if got.Identity.String() != want || got.Status != dcap.ConfigurationAndSWHardeningNeeded || got.Platform.FMSPC.String() != "00A067110000" {
			t.Errorf("%s: %s %s %s", file, got.Identity, got.Status, got.Platform.FMSPC)
		}
		other := *cert
		other.RawSubjectPublicKeyInfo = certificate(t, "intel-sample/pckCert.pem").RawSubjectPublicKeyInfo
		_, err = v.Certificate(ctx, &other, phala(t))
		refused(t, "another key", err, dcap.ErrBinding, "the quote is not over the certificate's public key")
		other = *cert
		other.NotAfter = cert.NotBefore
		_, err = v.Certificate(ctx, &other, phala(t))
		refused(t, "expired", err, dcap.ErrDate, "was valid until 2025-05-06")
	}
	_, err := dcap.New(dcap.Options{}).Certificate(ctx, certificate(t, "intel-sample/pckCert.pem"), phala(t))
	refused(t, "a certificate without a quote", err, dcap.ErrCertificate, "no extension 1.3.6.1.4.1.311.105.1")
}

// Every byte of a real quote counts: each flipped one is refused.
func TestVectorFlips(t *testing.T) {
	v := vectors(t)[0]
	verifier := v.verifier(v.at)
	flip := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 0x10
		return b
	}
	unsigned := bytes.Index(v.quote, []byte("-----BEGIN"))
	for i := range unsigned {
		if _, err := verifier.Quote(ctx, flip(v.quote, i), v.c); !errors.Is(err, attest.ErrEvidence) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for n := range len(v.quote) {
		if _, err := dcap.ParseQuote(v.quote[:n]); !errors.Is(err, dcap.ErrQuote) {
			t.Fatalf("%d bytes of %d: %v", n, len(v.quote), err)
		}
	}
	_, err := verifier.Quote(ctx, append(bytes.Clone(v.quote), 0), v.c)
	refused(t, "one byte more", err, dcap.ErrQuote, "1 bytes follow the quote")
}

// And so do the bytes of what Intel signed: the signature is one, so some of
// them do for all.
func TestVectorCollateralFlips(t *testing.T) {
	v := vectors(t)[0]
	verifier := v.verifier(v.at)
	for name, of := range map[string]func(*dcap.Collateral) *string{
		"TCB info":    func(c *dcap.Collateral) *string { return &c.TCBInfo },
		"QE identity": func(c *dcap.Collateral) *string { return &c.QEIdentity },
	} {
		c := v.c
		whole := *of(&c)
		for i := 0; i < len(whole); i += 41 {
			b := []byte(whole)
			b[i] ^= 1
			*of(&c) = string(b)
			_, err := verifier.Quote(ctx, v.quote, c)
			refused(t, name, err, dcap.ErrSignature, name)
		}
	}
	for name, of := range map[string]func(*dcap.Collateral) *dcap.Hex{
		"root list": func(c *dcap.Collateral) *dcap.Hex { return &c.RootCACRL },
		"PCK list":  func(c *dcap.Collateral) *dcap.Hex { return &c.PCKCRL },
		"signature": func(c *dcap.Collateral) *dcap.Hex { return &c.TCBInfoSignature },
	} {
		c := v.c
		whole := *of(&c)
		for i := 0; i < len(whole); i += 7 {
			*of(&c) = bytes.Clone(whole)
			(*of(&c))[i] ^= 1
			if _, err := verifier.Quote(ctx, v.quote, c); !errors.Is(err, attest.ErrEvidence) {
				t.Fatalf("%s, byte %d: %v", name, i, err)
			}
		}
	}
}

package main

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/policy"
)

// maxFileBytes is the largest file that evidence show reads.
const maxFileBytes = 1 << 20

// evidence is what was found in a file.
type evidence struct {
	form        string // in words
	quote       []byte
	certificate *x509.Certificate // that the quote was in
	collateral  *dcap.Collateral
	simulated   *attest.Evidence // instead of a quote
}

// readEvidence tells the forms apart by their first bytes.
func readEvidence(path string) (evidence, error) {
	b, err := readFile(path)
	if err != nil {
		return evidence{}, err
	}
	e, err := parseEvidence(b)
	if err != nil {
		return evidence{}, &failure{exitEvidence, fmt.Errorf("%s: %w", path, err), `see "coffer-kds evidence show --help" for what it may be`}
	}
	return e, nil
}

func parseEvidence(b []byte) (evidence, error) {
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")):
		return parseEvidenceJSON(b)
	case bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN")):
		return parseCertificate(b)
	case len(b) >= 4 && binary.BigEndian.Uint32(b) < 256: // a list begins with the length of its label
		return parseData(attest.Evidence{Format: attest.FormatSGXQuote, Data: b})
	case len(b) >= 8 && binary.LittleEndian.Uint32(b) == 1:
		return parseData(attest.Evidence{Format: attest.FormatOpenEnclave, Data: b})
	}
	_, err := dcap.ParseQuote(b)
	return evidence{form: "SGX quote", quote: b}, err
}

func parseEvidenceJSON(b []byte) (evidence, error) {
	var e attest.Evidence
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return evidence{}, fmt.Errorf("%w: %w", attest.ErrEvidence, err)
	}
	return parseData(e)
}

// parseData reads evidence whose format is known.
func parseData(e attest.Evidence) (evidence, error) {
	switch e.Format {
	case attest.FormatSim:
		return evidence{form: "simulated enclave", simulated: &e}, nil
	case attest.FormatSGXQuote:
		quote, c, err := dcap.ParseEvidence(e.Data)
		if err != nil {
			return evidence{}, err
		}
		_, err = dcap.ParseQuote(quote)
		return evidence{form: "SGX quote with collateral", quote: quote, collateral: &c}, err
	case attest.FormatOpenEnclave:
		quote, err := dcap.OpenEnclaveQuote(e.Data)
		if err != nil {
			return evidence{}, err
		}
		_, err = dcap.ParseQuote(quote)
		return evidence{form: "SGX quote of Open Enclave", quote: quote}, err
	}
	return evidence{}, fmt.Errorf("%w: unknown format %q", attest.ErrEvidence, e.Format)
}

func parseCertificate(b []byte) (evidence, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) != 0 {
		return evidence{}, fmt.Errorf("%w: it is not one certificate in PEM", attest.ErrEvidence)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return evidence{}, fmt.Errorf("%w: %w", attest.ErrEvidence, err)
	}
	quote, err := dcap.CertificateQuote(cert)
	if err != nil {
		return evidence{}, err
	}
	_, err = dcap.ParseQuote(quote)
	return evidence{form: "SGX quote in a certificate of attested TLS", quote: quote, certificate: cert}, err
}

// hint says what to do about evidence that does not verify.
func (e evidence) hint(err error) string {
	switch {
	case e.simulated == nil && e.collateral == nil:
		return "give Intel's collateral with --collateral FILE"
	case errors.Is(err, dcap.ErrDate):
		return "get new collateral, or give the time that you mean with --time"
	case errors.Is(err, dcap.ErrBinding):
		return "the collateral must be that of the platform and of its time"
	}
	return ""
}

func readCollateral(path string) (*dcap.Collateral, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	c, err := dcap.ParseCollateral(b)
	if err != nil {
		return nil, &failure{exitEvidence, fmt.Errorf("%s: %w", path, err), ""}
	}
	return &c, nil
}

// numbered is a policy and the line it stands on.
type numbered struct {
	line   int
	policy policy.Constraint
}

func readPolicies(path string) ([]numbered, error) {
	if path == "" {
		return nil, nil
	}
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var all []numbered
	for i, text := range strings.Split(string(b), "\n") {
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		p, err := policy.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, i+1, err)
		}
		all = append(all, numbered{i + 1, p})
	}
	return all, nil
}

// readFile reads a file of bounded size.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(b) > maxFileBytes {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxFileBytes)
	}
	return b, err
}

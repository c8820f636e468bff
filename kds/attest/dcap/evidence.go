package dcap

import (
	"encoding/binary"
	"fmt"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/key"
)

// evidenceLabel begins the data of attest.FormatSGXQuote: a list of parts, each
// behind its length as 32 bits big-endian. See docs/protocol.md, "SGX quote".
const evidenceLabel = "coffer/dcap/v1/evidence"

// Evidence is a quote with its collateral, to be sent.
func Evidence(quote []byte, c Collateral) (attest.Evidence, error) {
	data := key.Info(evidenceLabel, append([][]byte{quote}, c.parts()...)...)
	if len(data) > attest.MaxEvidenceSize {
		return attest.Evidence{}, fmt.Errorf("%w: evidence of %d bytes, at most %d are read", ErrCollateral, len(data), attest.MaxEvidenceSize)
	}
	return attest.Evidence{Format: attest.FormatSGXQuote, Data: data}, nil
}

// parts are the collateral's, in the order of the list.
func (c Collateral) parts() [][]byte {
	return [][]byte{[]byte(c.PCKChain), []byte(c.PCKCRLIssuerChain), c.RootCACRL, c.PCKCRL,
		[]byte(c.TCBInfoIssuerChain), []byte(c.TCBInfo), c.TCBInfoSignature,
		[]byte(c.QEIdentityIssuerChain), []byte(c.QEIdentity), c.QEIdentitySignature}
}

// ParseEvidence reads the data of attest.FormatSGXQuote to its last byte. It
// verifies nothing.
func ParseEvidence(data []byte) (quote []byte, c Collateral, err error) {
	if len(data) > attest.MaxEvidenceSize {
		return nil, c, fmt.Errorf("%w: %d bytes of evidence, at most %d are read", ErrQuote, len(data), attest.MaxEvidenceSize)
	}
	p, err := splitList(data, 12)
	if err != nil {
		return nil, c, err
	}
	if string(p[0]) != evidenceLabel {
		return nil, c, fmt.Errorf("%w: evidence of an unknown version", ErrQuote)
	}
	return p[1], Collateral{
		PCKChain: string(p[2]), PCKCRLIssuerChain: string(p[3]), RootCACRL: p[4], PCKCRL: p[5],
		TCBInfoIssuerChain: string(p[6]), TCBInfo: string(p[7]), TCBInfoSignature: p[8],
		QEIdentityIssuerChain: string(p[9]), QEIdentity: string(p[10]), QEIdentitySignature: p[11],
	}, nil
}

// splitList takes a list of count parts apart.
func splitList(data []byte, count int) ([][]byte, error) {
	r := reader{rest: data}
	var parts [][]byte
	for range count {
		part := fmt.Sprintf("part %d", len(parts))
		var n uint32
		if length := r.take(part, 4); length != nil {
			n = binary.BigEndian.Uint32(length)
		}
		parts = append(parts, r.sized(part, n))
	}
	return parts, r.end("evidence")
}

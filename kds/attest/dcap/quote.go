package dcap

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Sizes in a quote.
const (
	headerSize    = 48
	signedSize    = headerSize + reportSize
	signatureSize = 64
	keySize       = 64
)

// What a header must say.
const (
	attestationKeyP256 = 2
	teeSGX             = 0
)

var intelVendor, _ = hex.DecodeString("939a7233f79c4ca9940a0db3957f0607")

// Quote is an SGX quote of version 3 or 4, read and not verified.
type Quote struct {
	Version       uint16
	Report        Report        // of the enclave
	QE            Report        // of the quoting enclave
	Certification Certification // who vouches for the quoting enclave

	signed      []byte // header and report of the enclave
	signature   []byte // of the attestation key over signed
	key         []byte // the attestation key
	qeReport    []byte // vouches for the attestation key and auth data
	qeSignature []byte // of the PCK over qeReport
	authData    []byte
}

// ParseQuote reads a quote to its last byte. It verifies nothing.
func ParseQuote(b []byte) (Quote, error) {
	if len(b) > MaxQuoteBytes {
		return Quote{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrQuote, len(b), MaxQuoteBytes)
	}
	r := reader{rest: b}
	q := Quote{signed: r.take("header and report", signedSize)}
	signature := reader{rest: r.sized("signature data", r.u32("size of the signature data"))}
	if err := r.end("quote"); err != nil {
		return Quote{}, err
	}
	if err := q.readHeader(); err != nil {
		return Quote{}, err
	}
	q.Report = readReport(q.signed[headerSize:])
	if err := q.readSignature(&signature); err != nil {
		return Quote{}, err
	}
	q.QE = readReport(q.qeReport)
	return q, q.Certification.check()
}

// readHeader refuses other versions, keys, machines and makers.
func (q *Quote) readHeader() error {
	h := q.signed[:headerSize]
	q.Version = binary.LittleEndian.Uint16(h)
	keyType, tee := binary.LittleEndian.Uint16(h[2:]), binary.LittleEndian.Uint32(h[4:])
	switch {
	case q.Version != 3 && q.Version != 4:
		return fmt.Errorf("%w: version %d, want 3 or 4", ErrQuote, q.Version)
	case keyType != attestationKeyP256:
		return fmt.Errorf("%w: attestation key type %d, want %d (ECDSA P-256)", ErrQuote, keyType, attestationKeyP256)
	case tee != teeSGX:
		return fmt.Errorf("%w: TEE type %#x, want %d (SGX)", ErrQuote, tee, teeSGX)
	case !bytes.Equal(h[12:28], intelVendor):
		return fmt.Errorf("%w: quoting enclave of vendor %x, not Intel", ErrQuote, h[12:28])
	}
	return nil
}

// readSignature reads the signature data. Version 4 has everything behind the
// attestation key inside of certification data of type 6.
func (q *Quote) readSignature(r *reader) error {
	q.signature, q.key = r.take("signature", signatureSize), r.take("attestation key", keySize)
	if q.Version == 4 {
		outer := readCertification(r)
		if err := r.end("signature data"); err != nil {
			return err
		}
		if outer.Type != certQEReport {
			return fmt.Errorf("%w: version 4 with %s, want %s", ErrQuote, outer.Type, certQEReport)
		}
		r = &reader{rest: outer.data}
	}
	q.qeReport, q.qeSignature = r.take("QE report", reportSize), r.take("signature of the QE report", signatureSize)
	q.authData = r.take("auth data", int(r.u16("size of the auth data")))
	q.Certification = readCertification(r)
	return r.end("signature data")
}

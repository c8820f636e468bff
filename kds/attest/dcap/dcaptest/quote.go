package dcaptest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Quoted is what a quote says. Version 0 is 3.
type Quoted struct {
	Version  uint16
	Header   func(b []byte) // changes the 48 bytes
	Report   []byte         // the enclave's, 384 bytes
	QEReport []byte         // the quoting enclave's, without its report data
	AuthData []byte
	// QEData is the report data of the quoting enclave. Default the right one.
	QEData []byte
	// PointXY is the attestation key in the quote. Default the right one.
	PointXY []byte
	// QESigner and Signer sign instead of PCK and attestation key.
	QESigner, Signer *ecdsa.PrivateKey
	// Type and Certification replace the PCK chain. OuterType replaces type 6
	// of a quote of version 4.
	Type, OuterType uint16
	Certification   []byte
	// Edit changes the whole quote.
	Edit func(b []byte) []byte
}

// Offsets in a report.
const (
	OffsetMisc       = 16
	OffsetAttributes = 48
	OffsetCode       = 64
	OffsetSigner     = 128
	OffsetProduct    = 256
	OffsetSVN        = 258
	OffsetData       = 320
)

var (
	vendor, _ = hex.DecodeString("939a7233f79c4ca9940a0db3957f0607")
	qeSigner  = sha256.Sum256([]byte("signer of the quoting enclave"))
)

// report is a body with these names and attributes.
func report(code, signer [32]byte, product, svn uint16, attributes byte) []byte {
	b := make([]byte, 384)
	b[OffsetAttributes] = attributes
	copy(b[OffsetCode:], code[:])
	copy(b[OffsetSigner:], signer[:])
	binary.LittleEndian.PutUint16(b[OffsetProduct:], product)
	binary.LittleEndian.PutUint16(b[OffsetSVN:], svn)
	return b
}

func newQuoted() Quoted {
	return Quoted{Report: report([32]byte(bytes.Repeat([]byte{0xaa}, 32)), [32]byte(bytes.Repeat([]byte{0xbb}, 32)), 1, 3, 0x05),
		QEReport: report([32]byte{1}, qeSigner, 1, 8, 0x15), AuthData: []byte("auth data")}
}

// SetData sets the report data of the enclave.
func (q *Quoted) SetData(data [64]byte) { copy(q.Report[OffsetData:], data[:]) }

func (m *Machine) quote(chain string) []byte {
	q := m.Quoted
	if q.Version == 0 {
		q.Version = 3
	}
	header := make([]byte, 48)
	binary.LittleEndian.PutUint16(header, q.Version)
	binary.LittleEndian.PutUint16(header[2:], 2)
	copy(header[12:], vendor)
	if q.Header != nil {
		q.Header(header)
	}
	signed := append(header, q.Report...)
	b := sized(signed, m.signatureData(q, signed, chain))
	if q.Edit != nil {
		b = q.Edit(b)
	}
	return b
}

func (m *Machine) signatureData(q Quoted, signed []byte, chain string) []byte {
	xy := point(m.Keys.Attestation)[1:]
	if q.PointXY != nil {
		xy = q.PointXY
	}
	b := append(Sign(or(q.Signer, m.Keys.Attestation), signed), xy...)
	inner := m.qeData(q, xy, chain)
	if q.Version != 4 {
		return append(b, inner...)
	}
	outer := uint16(6)
	if q.OuterType != 0 {
		outer = q.OuterType
	}
	return sized(binary.LittleEndian.AppendUint16(b, outer), inner)
}

// qeData is the quoting enclave's report and what certifies it.
func (m *Machine) qeData(q Quoted, xy []byte, chain string) []byte {
	body := bytes.Clone(q.QEReport)
	h := sha256.Sum256(append(bytes.Clone(xy), q.AuthData...))
	copy(body[OffsetData:], h[:])
	if q.QEData != nil {
		copy(body[OffsetData:], q.QEData)
	}
	b := append(bytes.Clone(body), Sign(or(q.QESigner, m.Keys.PCK), body)...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(q.AuthData)))
	b = append(b, q.AuthData...)
	kind, data := uint16(5), append([]byte(chain), 0)
	if q.Type != 0 {
		kind, data = q.Type, q.Certification
	}
	return sized(binary.LittleEndian.AppendUint16(b, kind), data)
}

// sized appends data behind its size.
func sized(b, data []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...)
}

// sized64 appends data behind its size, as Open Enclave does.
func sized64(b, data []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(data))), data...)
}

func or(a, b *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	if a != nil {
		return a
	}
	return b
}

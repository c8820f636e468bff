package dcap

import "encoding/binary"

// reportSize is the size of an SGX report body.
const reportSize = 384

// debugBit is DEBUG in the first byte of the attributes.
const debugBit = 0x02

// Report is the body of an SGX report: what the CPU says of an enclave.
type Report struct {
	CPUSVN          [16]byte
	MiscSelect      [4]byte
	Attributes      [16]byte
	CodeHash        [32]byte // MRENCLAVE
	SignerHash      [32]byte // MRSIGNER
	ProductID       uint16   // ISVPRODID
	SecurityVersion uint16   // ISVSVN
	Data            [64]byte
}

// Debug reports whether the host may look into the enclave.
func (r Report) Debug() bool { return r.Attributes[0]&debugBit != 0 }

// readReport reads a body of reportSize bytes.
func readReport(b []byte) Report {
	return Report{
		CPUSVN:          [16]byte(b[0:]),
		MiscSelect:      [4]byte(b[16:]),
		Attributes:      [16]byte(b[48:]),
		CodeHash:        [32]byte(b[64:]),
		SignerHash:      [32]byte(b[128:]),
		ProductID:       binary.LittleEndian.Uint16(b[256:]),
		SecurityVersion: binary.LittleEndian.Uint16(b[258:]),
		Data:            [64]byte(b[320:]),
	}
}

package dcap

import (
	"encoding/binary"
	"fmt"
)

// The header of Open Enclave, little-endian: version, kind of report, size of
// what follows.
const (
	openEnclaveHeaderSize   = 16
	openEnclaveVersion      = 1
	openEnclaveRemoteReport = 2
)

// OpenEnclaveQuote is the quote in evidence of Open Enclave, as EGo makes it.
func OpenEnclaveQuote(evidence []byte) ([]byte, error) {
	if len(evidence) <= openEnclaveHeaderSize {
		return nil, fmt.Errorf("%w: %d bytes hold no Open Enclave header and quote", ErrQuote, len(evidence))
	}
	version, kind := binary.LittleEndian.Uint32(evidence), binary.LittleEndian.Uint32(evidence[4:])
	size, quote := binary.LittleEndian.Uint64(evidence[8:]), evidence[openEnclaveHeaderSize:]
	if version != openEnclaveVersion || kind != openEnclaveRemoteReport || size != uint64(len(quote)) {
		return nil, fmt.Errorf("%w: Open Enclave header has version %d, kind %d, size %d before %d bytes",
			ErrQuote, version, kind, size, len(quote))
	}
	return quote, nil
}

package ego

import (
	"bytes"
	"fmt"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Key info is SGX's key request, 512 bytes. These are its fields that may differ
// from those of a fresh request: which CPU and enclave version, and which key of
// the many.
const keyInfoSize = 512

var freeFields = [][2]int{
	{4, 6},   // ISVSVN: the CPU refuses one above the enclave's own
	{8, 24},  // CPUSVN: the CPU refuses one above its own
	{40, 72}, // key ID
}

// checkInfo refuses info that is for another kind of key than fresh is. Info
// comes from the host.
func checkInfo(info, fresh []byte) error {
	if len(info) != keyInfoSize || len(fresh) != keyInfoSize {
		return fmt.Errorf("%w: key info has %d bytes, want %d", attest.ErrSeal, len(info), keyInfoSize)
	}
	a, b := bytes.Clone(info), bytes.Clone(fresh)
	for _, f := range freeFields {
		clear(a[f[0]:f[1]])
		clear(b[f[0]:f[1]])
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("%w: key info is for a key of another policy", attest.ErrSeal)
	}
	return nil
}

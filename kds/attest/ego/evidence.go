package ego

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
)

// The header of Open Enclave, little-endian: version, kind of report, size of
// what follows.
const (
	headerSize    = 16
	headerVersion = 1
	remoteReport  = 2
)

// Quote is the SGX quote in evidence of an Open Enclave platform.
func Quote(evidence []byte) ([]byte, error) {
	if len(evidence) <= headerSize || len(evidence) > attest.MaxEvidenceSize {
		return nil, fmt.Errorf("%w: %d bytes", attest.ErrEvidence, len(evidence))
	}
	version, kind := binary.LittleEndian.Uint32(evidence), binary.LittleEndian.Uint32(evidence[4:])
	size := binary.LittleEndian.Uint64(evidence[8:])
	quote := evidence[headerSize:]
	if version != headerVersion || kind != remoteReport || size != uint64(len(quote)) {
		return nil, fmt.Errorf("%w: Open Enclave header has version %d, kind %d, size %d before %d bytes",
			attest.ErrEvidence, version, kind, size, len(quote))
	}
	return quote, nil
}

// Verifier reads SGX evidence with EGo's own means, which exist in an enclave
// only. They do not tell how old the collateral is that they used: the identities
// have the zero time, which no EXPIRE admits.
type Verifier struct {
	hw    hardware
	floor func() uint32
}

// NewVerifier returns a verifier that trusts what p's CPU trusts. floor, which may be
// nil, is the least evaluation data number that is asked for: EGo does not tell that
// either, so that with one above 0 nothing is accepted.
func NewVerifier(p *Platform, floor func() uint32) *Verifier { return &Verifier{p.hw, floor} }

// Verify implements attest.Verifier.
func (v *Verifier) Verify(_ context.Context, e attest.Evidence) (attest.Report, error) {
	if e.Format != attest.FormatOpenEnclave {
		return attest.Report{}, fmt.Errorf("%w: not of Open Enclave", attest.ErrEvidence)
	}
	if _, err := Quote(e.Data); err != nil {
		return attest.Report{}, err
	}
	if v.floor != nil && v.floor() > 0 {
		return attest.Report{}, fmt.Errorf("%w: evaluation number %d is the least that is accepted, and EGo does not tell it: verify with a collateral service (--pccs.url)",
			attest.ErrEvidence, v.floor())
	}
	r, err := v.hw.verify(e.Data)
	if err != nil && unavailable(err) {
		return attest.Report{}, fmt.Errorf("%w: EGo's collateral: %w", attest.ErrUnavailable, err)
	}
	if err != nil {
		return attest.Report{}, fmt.Errorf("%w: %w", attest.ErrEvidence, err)
	}
	if len(r.data) != attest.ReportDataSize {
		return attest.Report{}, fmt.Errorf("%w: %d bytes of report data", attest.ErrEvidence, len(r.data))
	}
	id, err := r.identity(time.Time{})
	if err != nil {
		return attest.Report{}, fmt.Errorf("%w: %w", attest.ErrEvidence, err)
	}
	return attest.Report{Identity: id, ReportData: attest.ReportData(r.data)}, nil
}

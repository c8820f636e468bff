// Package ego is SGX through EGo: the platform of an enclave that runs in
// EGo's runtime, and a verifier that such an enclave can use.
//
// EGo's package enclave answers outside an enclave too, and its answers look
// good. So this package promises that Open succeeds only after a positive sign
// of an enclave, and it refuses:
//
//   - seal keys of zero bytes, which EGo gives outside an enclave and in its
//     own simulation, without an error
//   - reports without report data, on which EGo panics
//   - a TCB status that nobody set, which in EGo reads as up to date
//   - key info from the host that asks for a key of another policy: with
//     policy 0 the CPU gives a key that every enclave can have
//
// EGo's seal keys have 128 bits, and so have the keys made of them, whatever
// their length.
//
// It needs cgo, Linux and amd64; elsewhere Open says that there is no enclave.
// Imported by kds/attest/platform.
package ego

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/key"
)

// hardware is EGo's package enclave, without its traps being dealt with.
type hardware interface {
	selfReport() (report, error)
	remoteReport(data []byte) ([]byte, error)
	verify(evidence []byte) (report, error)
	freshSealKey(attest.SealPolicy) (k, info []byte, err error)
	sealKey(info []byte) ([]byte, error)
}

// report is what EGo says of an enclave.
type report struct {
	data                       []byte
	securityVersion            uint
	debug                      bool
	codeHash, signer, products []byte
	status                     Status
}

// Platform is the enclave that the program runs in.
type Platform struct {
	hw   hardware
	self attest.Identity
	now  func() time.Time
}

var _ attest.Platform = (*Platform)(nil)

// Open returns the platform if the program runs in an SGX enclave, and
// attest.ErrNoEnclave otherwise.
func Open() (*Platform, error) { return open(native(), time.Now) }

func open(hw hardware, now func() time.Time) (*Platform, error) {
	r, err := hw.selfReport()
	if err != nil {
		return nil, fmt.Errorf("%w: no report of itself: %w", attest.ErrNoEnclave, err)
	}
	r.status = StatusUnverified // a local report says nothing of the platform
	id, err := r.identity(now())
	if err != nil {
		return nil, fmt.Errorf("%w: report of itself: %w", attest.ErrNoEnclave, err)
	}
	p := &Platform{hw: hw, self: id, now: now}
	for _, policy := range []attest.SealPolicy{attest.SealToSigner, attest.SealToCode} {
		k, _, err := p.SealKey(policy, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", attest.ErrNoEnclave, err)
		}
		k.Destroy()
	}
	return p, nil
}

// Self implements attest.Platform.
func (p *Platform) Self() (attest.Identity, error) {
	id := p.self
	id.Timestamp = p.now()
	return id, nil
}

// Mode implements attest.Platform.
func (p *Platform) Mode() attest.Mode { return p.self.Mode }

// Quote implements attest.Platform.
func (p *Platform) Quote(data attest.ReportData) (attest.Evidence, error) {
	b, err := p.hw.remoteReport(data[:])
	if err != nil {
		return attest.Evidence{}, fmt.Errorf("quote: %w", err)
	}
	if _, err := Quote(b); err != nil {
		return attest.Evidence{}, fmt.Errorf("quote: %w", err)
	}
	return attest.Evidence{Format: attest.FormatOpenEnclave, Data: b}, nil
}

// SealKey implements attest.Platform.
func (p *Platform) SealKey(policy attest.SealPolicy, info []byte) (key.Key, []byte, error) {
	if policy != attest.SealToSigner && policy != attest.SealToCode {
		return key.Key{}, nil, fmt.Errorf("%w: unknown seal policy %d", attest.ErrSeal, policy)
	}
	raw, fresh, err := p.hw.freshSealKey(policy)
	if err != nil {
		return key.Key{}, nil, fmt.Errorf("%w: %w", attest.ErrSeal, err)
	}
	defer func() { clear(raw) }()
	if len(info) == 0 {
		info = fresh
	} else {
		if err := checkInfo(info, fresh); err != nil {
			return key.Key{}, nil, err
		}
		clear(raw)
		if raw, err = p.hw.sealKey(info); err != nil {
			return key.Key{}, nil, fmt.Errorf("%w: %w", attest.ErrSeal, err)
		}
	}
	k, err := widen(raw)
	return k, bytes.Clone(info), err
}

const (
	sealKeySize = 16
	sealLabel   = "coffer/ego/v1/seal"
)

// widen makes a key of a seal key that is one.
func widen(raw []byte) (key.Key, error) {
	if len(raw) != sealKeySize || bytes.Equal(raw, make([]byte, sealKeySize)) {
		return key.Key{}, fmt.Errorf("%w: the platform gives zero bytes: this is no enclave", attest.ErrSeal)
	}
	wide, err := hkdf.Key(sha256.New, raw, nil, sealLabel, key.Size)
	if err != nil {
		return key.Key{}, err
	}
	defer clear(wide)
	return key.FromBytes(wide)
}

// identity is who a report is of. The status must have been set.
func (r report) identity(at time.Time) (attest.Identity, error) {
	code, err := hash(r.codeHash)
	if err != nil {
		return attest.Identity{}, fmt.Errorf("code hash: %w", err)
	}
	signer, err := hash(r.signer)
	if err != nil {
		return attest.Identity{}, fmt.Errorf("signer hash: %w", err)
	}
	if len(r.products) < 2 || len(bytes.Trim(r.products[2:], "\x00")) > 0 || r.securityVersion > 1<<16-1 {
		return attest.Identity{}, fmt.Errorf("%w: product %x, security version %d", attest.ErrIdentity, r.products, r.securityVersion)
	}
	id := attest.Identity{CodeHash: code, SignerHash: signer, ProductID: binary.LittleEndian.Uint16(r.products),
		RevocationLevel: int32(r.securityVersion) - 1, Level: r.status.Level(), Mode: attest.Release, Timestamp: at}
	if r.debug {
		id.Mode, id.Level = attest.Debug, min(id.Level, attest.Insecure)
	}
	return id, id.Check()
}

// hash refuses zeros: no enclave has them.
func hash(b []byte) (attest.Hash, error) {
	if len(b) != 32 || bytes.Equal(b, make([]byte, 32)) {
		return "", fmt.Errorf("%w: %d bytes, or all zero", attest.ErrHash, len(b))
	}
	return attest.HashFromBytes(b)
}

package sim

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/key"
)

const sealLabel = "coffer/sim/v1/seal"

// Build is what a simulated enclave is built from.
type Build struct {
	CodeHash        attest.Hash // see Measure
	SignerHash      attest.Hash
	ProductID       uint16
	RevocationLevel int32
}

// Options of an enclave. The zero value is right.
type Options struct {
	// Now is the clock of evidence. Default time.Now.
	Now func() time.Time
}

// Enclave is a simulated enclave: an attest.Platform.
type Enclave struct {
	cpu   *CPU
	build Build
	now   func() time.Time
}

// Start starts an enclave on c.
func (c *CPU) Start(b Build, o Options) (*Enclave, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Enclave{cpu: c, build: b, now: o.Now}
	self, err := e.Self()
	if err != nil {
		return nil, err
	}
	return e, self.Check()
}

// Mode implements attest.Platform: simulation, always.
func (e *Enclave) Mode() attest.Mode { return attest.Simulation }

// Self implements attest.Platform.
func (e *Enclave) Self() (attest.Identity, error) {
	return e.build.identity(e.now()), nil
}

// identity is the only place that gives simulated enclaves a level and a mode.
func (b Build) identity(at time.Time) attest.Identity {
	return attest.Identity{
		CodeHash: b.CodeHash, SignerHash: b.SignerHash, ProductID: b.ProductID, RevocationLevel: b.RevocationLevel,
		Level: attest.Insecure, Mode: attest.Simulation, Timestamp: at,
	}
}

const keyInfoSize = 32

// SealKey implements attest.Platform. The info is random bytes: which key of
// the many.
func (e *Enclave) SealKey(p attest.SealPolicy, info []byte) (key.Key, []byte, error) {
	if len(info) == 0 {
		info = make([]byte, keyInfoSize)
		rand.Read(info)
	}
	if len(info) != keyInfoSize {
		return key.Key{}, nil, fmt.Errorf("%w: key info has %d bytes, want %d", attest.ErrSeal, len(info), keyInfoSize)
	}
	info = bytes.Clone(info)
	switch p {
	case attest.SealToSigner:
		product := binary.BigEndian.AppendUint16(nil, e.build.ProductID)
		return e.cpu.seal.Derive(info, sealLabel, []byte("signer"), []byte(e.build.SignerHash), product), info, nil
	case attest.SealToCode:
		return e.cpu.seal.Derive(info, sealLabel, []byte("code"), []byte(e.build.CodeHash)), info, nil
	}
	return key.Key{}, nil, fmt.Errorf("%w: unknown seal policy %d", attest.ErrSeal, p)
}

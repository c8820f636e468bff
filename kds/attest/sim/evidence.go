package sim

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/key"
)

// Evidence is a list of fields, each behind its length as 32 bits big-endian,
// and ends with the signature over everything before that field. See
// docs/protocol.md, "Simulated evidence".
const (
	evidenceLabel = "coffer/sim/v1/evidence"
	maxFieldBytes = 256
)

// Quote implements attest.Platform.
func (e *Enclave) Quote(data attest.ReportData) (attest.Evidence, error) {
	b := e.build
	body := key.Info(evidenceLabel,
		e.cpu.signing.Public().(ed25519.PublicKey),
		b.CodeHash.Bytes(), b.SignerHash.Bytes(),
		binary.BigEndian.AppendUint16(nil, b.ProductID),
		binary.BigEndian.AppendUint32(nil, uint32(b.RevocationLevel)),
		binary.BigEndian.AppendUint64(nil, uint64(e.now().UnixMilli())),
		data[:])
	signature := ed25519.Sign(e.cpu.signing, body)
	body = binary.BigEndian.AppendUint32(body, ed25519.SignatureSize)
	return attest.Evidence{Format: attest.FormatSim, Data: append(body, signature...)}, nil
}

// Verifier reads the evidence of simulated enclaves. Whatever it accepts is
// INSECURE.
type Verifier struct{}

// Verify implements attest.Verifier.
func (Verifier) Verify(_ context.Context, e attest.Evidence) (attest.Report, error) {
	if e.Format != attest.FormatSim {
		return attest.Report{}, refuse("not of a simulated CPU")
	}
	r := reader{rest: e.Data}
	label, cpu := r.field(len(evidenceLabel)), r.field(ed25519.PublicKeySize)
	code, signer := r.field(32, 64), r.field(32, 64)
	product, level, at := r.field(2), r.field(4), r.field(8)
	data := r.field(attest.ReportDataSize)
	signed := e.Data[:len(e.Data)-len(r.rest)]
	signature := r.field(ed25519.SignatureSize)
	switch {
	case r.bad || len(r.rest) != 0:
		return attest.Report{}, refuse("malformed")
	case string(label) != evidenceLabel:
		return attest.Report{}, refuse("unknown version")
	case !ed25519.Verify(cpu, signed, signature):
		return attest.Report{}, refuse("signature does not match")
	}
	var b Build
	b.CodeHash, _ = attest.HashFromBytes(bytes.Clone(code)) // lengths are right
	b.SignerHash, _ = attest.HashFromBytes(bytes.Clone(signer))
	b.ProductID = binary.BigEndian.Uint16(product)
	b.RevocationLevel = int32(binary.BigEndian.Uint32(level))
	id := b.identity(time.UnixMilli(int64(binary.BigEndian.Uint64(at))))
	if err := id.Check(); err != nil {
		return attest.Report{}, fmt.Errorf("%w: %w", attest.ErrEvidence, err)
	}
	return attest.Report{Identity: id, ReportData: attest.ReportData(data)}, nil
}

func refuse(why string) error {
	return fmt.Errorf("%w: simulated evidence: %s", attest.ErrEvidence, why)
}

// reader takes fields off a text and remembers the first failure.
type reader struct {
	rest []byte
	bad  bool
}

// field returns the next field if its length is one of sizes.
func (r *reader) field(sizes ...int) []byte {
	if r.bad || len(r.rest) < 4 {
		r.bad = true
		return nil
	}
	n := binary.BigEndian.Uint32(r.rest)
	for _, size := range sizes {
		if n <= maxFieldBytes && int(n) == size && len(r.rest) >= 4+size {
			f := r.rest[4 : 4+size]
			r.rest = r.rest[4+size:]
			return f
		}
	}
	r.bad = true
	return nil
}

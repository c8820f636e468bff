package kdstest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/key"
)

// FormatFake is the evidence of Fake platforms.
const FormatFake attest.Format = "fake"

// Fake is a platform of any mode and level. Its evidence is its word.
type Fake struct{ Identity attest.Identity }

var _ attest.Platform = Fake{}

// Self implements attest.Platform.
func (f Fake) Self() (attest.Identity, error) { return f.Identity, nil }

// Mode implements attest.Platform.
func (f Fake) Mode() attest.Mode { return f.Identity.Mode }

// Quote implements attest.Platform.
func (f Fake) Quote(data attest.ReportData) (attest.Evidence, error) {
	b, err := json.Marshal(attest.Report{Identity: f.Identity, ReportData: data})
	return attest.Evidence{Format: FormatFake, Data: b}, err
}

// SealKey implements attest.Platform: there is none.
func (f Fake) SealKey(attest.SealPolicy, []byte) (key.Key, []byte, error) {
	return key.Key{}, nil, attest.ErrSeal
}

// Release is an enclave in release mode, with the names of a build.
func Release(b sim.Build, l attest.Level) Fake {
	return Fake{attest.Identity{CodeHash: b.CodeHash, SignerHash: b.SignerHash, ProductID: b.ProductID,
		RevocationLevel: b.RevocationLevel, Level: l, Mode: attest.Release}}
}

// Verifier believes simulated and Fake evidence.
func Verifier() attest.Verifier {
	return attest.Verifiers{attest.FormatSim: sim.Verifier{}, FormatFake: believe{}}
}

type believe struct{}

func (believe) Verify(_ context.Context, e attest.Evidence) (attest.Report, error) {
	var r attest.Report
	if err := json.Unmarshal(e.Data, &r); err != nil {
		return attest.Report{}, fmt.Errorf("%w: %w", attest.ErrEvidence, err)
	}
	return r, nil
}

// Master is a master key of any type, with generations 1 to Generations.
type Master struct {
	KeyType     kds.MasterKeyType
	Generations kds.Generation
	Err         error // if set, no key can be had
}

var _ master.Provider = Master{}

// Type implements master.Provider.
func (m Master) Type() kds.MasterKeyType { return m.KeyType }

// Current implements master.Provider.
func (m Master) Current() kds.Generation { return max(m.Generations, 1) }

// Key implements master.Provider.
func (m Master) Key(_ context.Context, g kds.Generation) (key.Key, error) {
	if m.Err != nil {
		return key.Key{}, m.Err
	}
	if g == 0 || g > m.Current() {
		return key.Key{}, master.ErrGeneration
	}
	k, err := key.FromBytes([]byte("a master key that is no secret.."))
	return k.Derive(nil, fmt.Sprintf("%s %d", m.KeyType, g)), err
}

// Close implements master.Provider.
func (m Master) Close() error { return nil }

package platform

import (
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/dcap/pccs"
	"github.com/coffer-fs/coffer/kds/attest/ego"
	"github.com/coffer-fs/coffer/kds/attest/sim"
)

// Trust says how the evidence of others is verified. The zero value is right:
// SGX quotes bring their collateral, or EGo finds it in an SGX enclave.
type Trust struct {
	// PCCS is the address of a service with Intel's collateral, for quotes that
	// come without it: https://HOST/sgx/certification/v4. Nothing that it says
	// is trusted. Default none.
	PCCS string
	// Memory knows the newest collateral that was seen. Default one that ends
	// with the process.
	Memory dcap.Memory
	// MinEvaluationNumber is the least evaluation data number. Default 0, any. EGo
	// can't tell it: with another one it takes a PCCS.
	MinEvaluationNumber func() uint32
	// Simulated evidence is read by a program that runs in no enclave. Danger:
	// everybody can make it.
	Simulated bool
}

// Verifier reads the evidence of others for a program that runs on p, or in no
// enclave if p is nil. In release mode simulated evidence is not even read.
func (t Trust) Verifier(p attest.Platform) attest.Verifier {
	o := dcap.Options{Memory: t.Memory, Floor: t.MinEvaluationNumber}
	if t.PCCS != "" {
		o.Source = &pccs.Client{URL: t.PCCS}
	}
	quotes := dcap.New(o)
	v := attest.Verifiers{attest.FormatSGXQuote: quotes, attest.FormatOpenEnclave: quotes}
	if p == nil && t.Simulated || p != nil && p.Mode() != attest.Release {
		v[attest.FormatSim] = sim.Verifier{}
	}
	if sgx, ok := p.(*ego.Platform); ok && t.PCCS == "" {
		v[attest.FormatOpenEnclave] = ego.NewVerifier(sgx, t.MinEvaluationNumber)
	}
	return v
}

// Verifier is that of the zero Trust.
func Verifier(p attest.Platform) attest.Verifier { return Trust{}.Verifier(p) }

// Package platform chooses the enclave that a program runs in.
//
// It promises that the choice is the caller's, in words: a program that asks for
// SGX outside an enclave fails, and never finds itself on a simulated CPU.
//
// Imported by package coffer and the commands.
package platform

import (
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/ego"
	"github.com/coffer-fs/coffer/kds/attest/sim"
)

// ErrKind: no kind of platform is chosen, or an unknown one.
var ErrKind = errors.New("unknown platform")

// Kind names a platform. The zero value is none.
type Kind string

// The kinds.
const (
	// SGX is an SGX enclave that runs in EGo.
	SGX Kind = "sgx"
	// Sim is a simulated CPU: it protects nothing.
	Sim Kind = "sim"
)

// Options of a simulated enclave. SGX needs none of them.
type Options struct {
	// CPU is the directory of the simulated CPU. Required for Sim.
	CPU string
	// EnclaveFile says who signed the simulated enclave and as what; see
	// sim.File. Default: the signer of zeros, product 1, revocation level 0.
	EnclaveFile string
	// Config is measured into the simulated enclave's code hash, beside the
	// running executable.
	Config []byte
}

// Open returns the platform of a kind, or an error: attest.ErrNoEnclave for SGX
// outside an enclave.
func Open(k Kind, o Options) (attest.Platform, error) {
	switch k {
	case SGX:
		if o.CPU != "" || o.EnclaveFile != "" {
			return nil, fmt.Errorf("%w: an SGX enclave has no simulated CPU", ErrKind)
		}
		p, err := ego.Open()
		if err != nil {
			return nil, err
		}
		return p, nil
	case Sim:
		return openSim(o)
	}
	return nil, fmt.Errorf("%w %q: it is sgx or sim", ErrKind, k)
}

func openSim(o Options) (attest.Platform, error) {
	if o.CPU == "" {
		return nil, fmt.Errorf("%w: a simulated enclave needs the directory of its CPU", ErrKind)
	}
	var file sim.File
	if o.EnclaveFile != "" {
		var err error
		if file, err = sim.ReadFile(o.EnclaveFile); err != nil {
			return nil, err
		}
	}
	measured, err := sim.MeasureSelf(o.Config)
	if err != nil {
		return nil, err
	}
	build, err := file.Build(measured)
	if err != nil {
		return nil, err
	}
	cpu, err := sim.NewCPU(o.CPU)
	if err != nil {
		return nil, fmt.Errorf("open simulated CPU: %w", err)
	}
	return cpu.Start(build, sim.Options{})
}

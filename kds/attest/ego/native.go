//go:build cgo && linux && amd64

package ego

import (
	"errors"

	"github.com/edgelesssys/ego/attestation"
	"github.com/edgelesssys/ego/enclave"

	"github.com/coffer-fs/coffer/kds/attest"
)

// native is EGo.
func native() hardware { return sgx{} }

type sgx struct{}

func (sgx) selfReport() (report, error) {
	r, err := enclave.GetSelfReport()
	if err != nil {
		return report{}, err
	}
	return read(r), nil
}

func (sgx) remoteReport(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, errors.New("no report data")
	}
	return enclave.GetRemoteReport(data)
}

func (sgx) verify(evidence []byte) (report, error) {
	r, err := enclave.VerifyRemoteReport(evidence)
	if errors.Is(err, attestation.ErrTCBLevelInvalid) {
		err = errTCBLevel
	}
	status, err := statusOf(r.TCBStatus, err)
	if err != nil {
		return report{}, err
	}
	own := read(r)
	own.status = status
	return own, nil
}

func (sgx) freshSealKey(p attest.SealPolicy) (k, info []byte, err error) {
	if p == attest.SealToCode {
		return enclave.GetRandomUniqueSealKey()
	}
	return enclave.GetRandomProductSealKey()
}

func (sgx) sealKey(info []byte) ([]byte, error) { return enclave.GetSealKey(info) }

// read leaves the status alone.
func read(r attestation.Report) report {
	return report{data: r.Data, securityVersion: r.SecurityVersion, debug: r.Debug,
		codeHash: r.UniqueID, signer: r.SignerID, products: r.ProductID}
}

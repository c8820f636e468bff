//go:build !(cgo && linux && amd64)

package ego

import (
	"errors"

	"github.com/coffer-fs/coffer/kds/attest"
)

// native is nothing: EGo needs cgo, Linux and amd64.
func native() hardware { return none{} }

var errBuilt = errors.New("built without EGo: it needs cgo, Linux and amd64")

type none struct{}

func (none) stub() {}

func (none) selfReport() (report, error)         { return report{}, errBuilt }
func (none) remoteReport([]byte) ([]byte, error) { return nil, errBuilt }
func (none) verify([]byte) (report, error)       { return report{}, errBuilt }
func (none) sealKey([]byte) ([]byte, error)      { return nil, errBuilt }
func (none) freshSealKey(attest.SealPolicy) (k, info []byte, err error) {
	return nil, nil, errBuilt
}

package dcaptest

import (
	"context"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/key"
)

// Enclave is an enclave on a machine, and the collateral that its host sends
// along: that of Host, or else of the machine itself. The machine needs a
// RootCert, which lasts.
type Enclave struct {
	Machine *Machine
	Host    *dcap.Collateral
}

var _ attest.Platform = Enclave{}

// Self implements attest.Platform.
func (e Enclave) Self() (attest.Identity, error) {
	quote, c := e.Machine.Make(nil)
	o := e.Machine.Options()
	v, err := dcap.New(o).Quote(context.Background(), quote, c)
	return v.Identity, err
}

// Quote implements attest.Platform.
func (e Enclave) Quote(data attest.ReportData) (attest.Evidence, error) {
	e.Machine.Quoted.SetData(data)
	quote, c := e.Machine.Make(nil)
	if e.Host != nil {
		c = *e.Host
	}
	return dcap.Evidence(quote, c)
}

// SealKey implements attest.Platform: there is none.
func (Enclave) SealKey(attest.SealPolicy, []byte) (key.Key, []byte, error) {
	return key.Key{}, nil, attest.ErrSeal
}

// Mode implements attest.Platform.
func (e Enclave) Mode() attest.Mode {
	if e.Machine.Quoted.Report[OffsetAttributes]&2 != 0 {
		return attest.Debug
	}
	return attest.Release
}

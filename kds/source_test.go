package kds_test

import (
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
)

// By mode, as the predecessor's table.
func TestChooseSource(t *testing.T) {
	for _, c := range []struct {
		mode         attest.Mode
		spec, url    bool
		want         kds.Source
		wantErr      error
		source, what string
	}{
		{attest.Release, true, false, 0, kds.ErrNoKDS, "", "release with a spec, no URL: refused"},
		{attest.Debug, true, false, kds.FromMachineWarn, nil, "machine", "debug with a spec, no URL: warns"},
		{attest.Simulation, true, false, kds.FromMachineWarn, nil, "machine", "simulation with a spec, no URL: warns"},
		{attest.Release, true, true, kds.FromKDS, nil, "kds", ""},
		{attest.Debug, true, true, kds.FromKDS, nil, "kds", ""},
		{attest.Simulation, true, true, kds.FromKDS, nil, "kds", ""},
		{attest.Release, false, false, kds.FromMachine, nil, "machine", "no spec: machine key, no warning"},
		{attest.Debug, false, false, kds.FromMachine, nil, "machine", ""},
		{attest.Simulation, false, false, kds.FromMachine, nil, "machine", ""},
		{attest.Release, false, true, kds.FromMachine, nil, "machine", "a URL alone changes nothing"},
		{attest.Simulation, false, true, kds.FromMachine, nil, "machine", ""},
		{0, false, false, 0, attest.ErrIdentity, "", "no mode"},
		{9, true, true, 0, attest.ErrIdentity, "", "unknown mode"},
	} {
		got, err := kds.ChooseSource(c.mode, c.spec, c.url)
		if got != c.want || !errors.Is(err, c.wantErr) || (err == nil && got.String() != c.source) {
			t.Errorf("%s: %v, %v", c.what, got, err)
		}
	}
}

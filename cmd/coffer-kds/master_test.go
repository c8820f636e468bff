package main

import (
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
)

// What decides for an enclave is measured with it, and not the host's to say.
func TestMeasured(t *testing.T) {
	config := func(path string) serveFlags { return serveFlags{cluster: clusterFlags{config: path}} }
	operator := serveFlags{serviceFlags: serviceFlags{operators: []string{"00"}}}
	for _, c := range []struct {
		f    serveFlags
		m    attest.Mode
		code int
	}{
		{config("node.hcl"), attest.Simulation, 0},
		{config("node.hcl"), attest.Debug, exitConfig},
		{config("/data/node.hcl"), attest.Release, exitConfig},
		{config(nodeconfig.MeasuredFile), attest.Release, 0},
		{config(""), attest.Release, 0},
		{operator, attest.Simulation, 0},
		{operator, attest.Debug, 0},
		{operator, attest.Release, exitUsage},
	} {
		err := c.f.measured(c.m)
		var f *failure
		if (c.code == 0) != (err == nil) || err != nil && (!errors.As(err, &f) || f.code != c.code) {
			t.Errorf("%+v in mode %s: %v, want code %d", c.f.cluster.config, c.m, err, c.code)
		}
	}
}

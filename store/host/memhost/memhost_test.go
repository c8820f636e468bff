package memhost_test

import (
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/hosttest"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

func TestHost(t *testing.T) {
	for name, o := range map[string]memhost.Options{
		"plain":     {},
		"spares":    {Spares: 4},
		"growing":   {GrowingEnds: true},
		"forgetful": {Forgetful: true},
	} {
		t.Run(name, func(t *testing.T) {
			hosttest.Run(t, func(*testing.T) hosttest.Opener {
				h := memhost.New(o)
				return func() (host.Volume, error) { return h, nil }
			})
		})
	}
}

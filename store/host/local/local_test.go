package local_test

import (
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/hosttest"
	"github.com/coffer-fs/coffer/store/host/local"
)

func TestHost(t *testing.T) {
	hosttest.Run(t, func(t *testing.T) hosttest.Opener {
		dir := filepath.Join(t.TempDir(), "volume")
		if err := local.Create(dir); err != nil {
			t.Fatal(err)
		}
		return func() (host.Volume, error) { return local.Open(dir) }
	})
}

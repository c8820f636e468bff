package mount_test

import (
	"testing"

	"github.com/coffer-fs/coffer/fs/fstest"
)

func TestSuite(t *testing.T) {
	fstest.Suite{
		New:     func(t *testing.T) fstest.Subject { return fstest.Dir(mounted(t)) },
		NewFull: func(t *testing.T) fstest.Subject { return fstest.Dir(mountedWith(t, 8<<20)) },
	}.Run(t)
}

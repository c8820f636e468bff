package mount_test

import (
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/fs/fstest"
)

func TestSuite(t *testing.T) {
	fstest.Suite{
		New:     func(t *testing.T) fstest.Subject { return fstest.Dir(mounted(t)) },
		NewFull: func(t *testing.T) fstest.Subject { return fstest.Dir(mountedWith(t, 8<<20)) },

		NewAttached: func(t *testing.T) fstest.Subject { return fstest.Dir(mountedAttached(t)) },
	}.Run(t)
}

// What is attached is a filesystem like any other.
func TestSuiteAttached(t *testing.T) {
	fstest.Suite{
		New: func(t *testing.T) fstest.Subject { return fstest.Dir(filepath.Join(mountedAttached(t), "in")) },
	}.Run(t)
}

package fstest_test

import (
	"testing"

	"github.com/coffer-fs/coffer/fs/fstest"
)

// TestPlainDirectory lets the kernel's own filesystem judge the suite.
func TestPlainDirectory(t *testing.T) {
	fstest.Suite{New: func(t *testing.T) fstest.Subject { return fstest.Dir(t.TempDir()) }}.Run(t)
}

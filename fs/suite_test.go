package fs_test

import (
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/fstest"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

func TestSuite(t *testing.T) {
	subject := func(capacity int64) func(t *testing.T) fstest.Subject {
		return func(t *testing.T) fstest.Subject {
			v := memhost.New(memhost.Options{Forgetful: true})
			formatted(t, v, capacity)
			return fstest.API(opened(t, v, fs.Options{}))
		}
	}
	attached := func(t *testing.T) fstest.Subject { return fstest.API(fstest.Attached(t)) }
	fstest.Suite{New: subject(256 << 20), NewFull: subject(8 << 20), NewAttached: attached}.Run(t)
}

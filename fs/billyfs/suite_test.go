package billyfs_test

import (
	"testing"

	"github.com/go-git/go-billy/v5/test"
	"gopkg.in/check.v1"

	"github.com/coffer-fs/coffer/fs/billyfs"
	memory "github.com/coffer-fs/coffer/fs/fstest"
)

// TestSuite runs billy's own tests.
func TestSuite(t *testing.T) {
	s := &suite{t: t}
	if r := check.Run(s, &check.RunConf{}); !r.Passed() || r.Succeeded == 0 {
		t.Errorf("billy's suite: %v", r)
	}
}

type suite struct {
	t *testing.T
	test.FilesystemSuite
}

// SetUpTest is called before each of the suite's tests.
func (s *suite) SetUpTest(*check.C) {
	s.FilesystemSuite = test.NewFilesystemSuite(billyfs.New(memory.Memory(s.t)))
}

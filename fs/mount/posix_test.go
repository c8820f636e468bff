package mount_test

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// TestPosix is go-fuse's own suite for filesystems, but for a test that wants
// POSIX record locks to keep two files of one process apart. They never do;
// go-fuse leaves it out where the kernel is the subject, too.
func TestPosix(t *testing.T) {
	for name, test := range posixtest.All {
		if name != "FcntlFlockLocksFile" {
			t.Run(name, func(t *testing.T) { test(t, mounted(t)) })
		}
	}
}

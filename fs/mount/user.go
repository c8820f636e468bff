package mount

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// explain says why somebody who is not root could not mount: fusermount3, which does it
// for him, says it on standard error only.
func explain(err error, o Options) error {
	if os.Getuid() == 0 {
		return err
	}
	reason := "it has to be a directory of his own"
	switch {
	case !installed("fusermount3") && !installed("fusermount"):
		reason = "fusermount3 is not installed"
	case unix.Access("/dev/fuse", unix.R_OK|unix.W_OK) != nil:
		reason = "he may not open /dev/fuse"
	case o.AllowOther:
		reason = "for others only if /etc/fuse.conf has user_allow_other"
	}
	return fmt.Errorf("%w: %s: %w", ErrNotAllowed, reason, err)
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

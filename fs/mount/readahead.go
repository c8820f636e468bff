package mount

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// readAheadKiB is how far the kernel reads ahead of a program that reads in
// order: one request of the largest size.
const readAheadKiB = 4 * maxWrite >> 10

// raiseReadAhead lets the kernel read further ahead than the 128 KiB that it
// allows a FUSE filesystem to ask for. It takes root, and without it reading is
// slower and nothing else, so failing is no error.
func raiseReadAhead(point string) error {
	var st unix.Stat_t
	if err := unix.Stat(point, &st); err != nil {
		return err
	}
	knob := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	return os.WriteFile(knob, []byte(strconv.Itoa(readAheadKiB)), 0)
}

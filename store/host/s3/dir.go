package s3

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// dir is a volume's directory on this machine: its lock says that a process which
// wrote the volume from here is gone, and its journal has what that one
// acknowledged and did not ship. A nil dir is none.
type dir struct {
	path    string
	lock    *os.File
	locked  bool // by this process
	home    [16]byte
	journal *os.File // of this process; nil if it keeps none
	size    int64    // of it
}

// openDir takes the lock of a directory, if nobody has it. path may be empty.
func openDir(path string) (*dir, error) {
	if path == "" {
		return nil, nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	d := &dir{path: path, lock: lock}
	switch err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case err == unix.EWOULDBLOCK:
		return d, nil
	case err != nil:
		d.close()
		return nil, fmt.Errorf("lock %q: %w", path, err)
	}
	d.locked = true
	if err := d.readHome(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// readHome reads the directory's name among all directories, or makes one.
func (d *dir) readHome() error {
	n, err := d.lock.ReadAt(d.home[:], 0)
	if n == len(d.home) {
		return nil
	}
	if err != nil && err != io.EOF {
		return err
	}
	rand.Read(d.home[:])
	if _, err := d.lock.WriteAt(d.home[:], 0); err != nil {
		return err
	}
	return d.lock.Sync()
}

func (d *dir) close() {
	if d == nil {
		return
	}
	if d.journal != nil {
		d.journal.Close()
	}
	d.lock.Close()
}

// id is the directory's name, 0 without its lock.
func (d *dir) id() (id [16]byte) {
	if d != nil && d.locked {
		id = d.home
	}
	return id
}

// isHome reports whether a holder wrote from this directory, whose lock this
// process has.
func (d *dir) isHome(h holder) bool { return d.id() == h.home && h.home != [16]byte{} }

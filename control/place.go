package control

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// ErrNobody: nobody serves this volume.
var ErrNobody = errors.New("nobody has the volume open and can be asked")

// socketName is the name of the socket for a volume.
func socketName(volume string) string {
	if abs, err := filepath.Abs(volume); err == nil {
		volume = abs
	}
	if real, err := filepath.EvalSymlinks(volume); err == nil {
		volume = real
	}
	sum := sha256.Sum256([]byte("coffer/control/v1\x00" + volume))
	return hex.EncodeToString(sum[:8]) + ".sock"
}

// place is a directory that may hold the sockets of a user.
type place struct {
	parent, name string
	uid          int
}

func (p place) dir() string { return filepath.Join(p.parent, p.name) }

// places are where the sockets of a user may be, in the order in which they are
// tried. The environment counts for the process's own user only.
func places(uid int) []place {
	var ps []place
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && uid == os.Geteuid() {
		ps = append(ps, place{dir, "coffer", uid})
	}
	if uid == 0 {
		ps = append(ps, place{"/run", "coffer", uid})
	}
	id := strconv.Itoa(uid)
	return append(ps, place{filepath.Join("/run/user", id), "coffer", uid}, place{"/tmp", "coffer-" + id, uid})
}

// check refuses a directory that others than its user could put a socket into.
func (p place) check() error {
	i, err := os.Lstat(p.dir())
	if err != nil {
		return err
	}
	st, ok := i.Sys().(*syscall.Stat_t)
	if !ok || !i.IsDir() || int(st.Uid) != p.uid || i.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a directory of user %d alone: %w", p.dir(), p.uid, fs.ErrPermission)
	}
	return nil
}

// make makes the directory if it can be made.
func (p place) make() error {
	if err := os.Mkdir(p.dir(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return p.check()
}

// owners are the users who may serve a volume to this process.
func owners(volume string) []int {
	me := os.Geteuid()
	uids := []int{me}
	if i, err := os.Stat(volume); err == nil && me == 0 {
		if st, ok := i.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			uids = append(uids, int(st.Uid))
		}
	}
	if me != 0 {
		uids = append(uids, 0)
	}
	return uids
}

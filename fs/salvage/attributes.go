package salvage

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/fs"
)

// setAttributes gives name in d what a file of the volume has: its extended
// attributes, its owner if root does it, its mode, and last its times. What this
// machine refuses is put on the list.
func (r *run) setAttributes(d *dir, name string, a fs.Attr, known bool, xattrs map[string][]byte) {
	refused := func(what string, err error) {
		if err != nil {
			r.changed("inode %d: %s: %v", a.Ino, what, err)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(xattrs)) {
		refused(fmt.Sprintf("extended attribute %q", n), unix.Lsetxattr(d.path(name), n, xattrs[n], 0))
	}
	if !known {
		return
	}
	isLink := a.Type() == unix.S_IFLNK
	if r.root {
		refused("owner", unix.Fchownat(d.fd(), name, int(a.UID), int(a.GID), unix.AT_SYMLINK_NOFOLLOW))
	}
	if !isLink {
		mode := a.Mode & 0o7777
		if !r.root {
			mode &= 0o777 // the bits that lend one's identity are the owner's
		}
		// name is no link: it was made here as what it is.
		refused("mode", unix.Fchmodat(d.fd(), name, mode, 0))
	}
	times := []unix.Timespec{unix.NsecToTimespec(a.Atime.UnixNano()), unix.NsecToTimespec(a.Mtime.UnixNano())}
	refused("times", unix.UtimesNanoAt(d.fd(), name, times, unix.AT_SYMLINK_NOFOLLOW))
}

// path is a way to name in d for calls that take nothing but paths. It leads
// through the open directory, and the calls do not follow its last name.
func (d *dir) path(name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", d.fd(), name) }

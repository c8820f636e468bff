package salvage

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/fs"
)

// maxDeep is how deep directories are nested here; what is deeper goes to
// lost+found, with all that is below it.
const maxDeep = 256

// tree makes DIR/files.
func (r *run) tree() error {
	if !r.dirs.has(number(fs.RootIno)) {
		r.lost("the root directory is lost with its names")
		d, err := r.top.make(filesName)
		if err == nil {
			err = d.file.Close()
		}
		return err
	}
	d, err := r.top.make(filesName)
	if err != nil {
		return err
	}
	return r.directory(r.top, d, filesName, fs.RootIno, filesName, 0)
}

// directory puts all that is in directory i into d, which was made as name in parent.
func (r *run) directory(parent, d *dir, name string, i fs.Ino, shown string, depth int) error {
	defer d.file.Close()
	if err := unix.Unlinkat(r.dirs.fd(), number(i), 0); err != nil {
		return err
	}
	r.summary.Directories++
	r.tellHit(i, shown)
	lost, err := r.remains.Entries(r.ctx, i, func(e fs.DirEntry) error {
		return r.entry(d, e, path.Join(shown, e.Name), depth)
	})
	if err != nil {
		return err
	}
	if lost {
		r.lost("%q: names in this directory are lost", shown)
	}
	return r.finishDir(parent, name, i)
}

func (r *run) finishDir(parent *dir, name string, i fs.Ino) error {
	a, _, err := r.remains.Attr(r.ctx, i)
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	xattrs := map[string][]byte{}
	xerr := r.remains.Xattrs(r.ctx, i, func(name string, value []byte) error {
		xattrs[name] = value
		return nil
	})
	if xerr != nil {
		return xerr
	}
	r.setAttributes(parent, name, a, err == nil, xattrs)
	return nil
}

// tellHit tells the name of a file that is damaged.
func (r *run) tellHit(i fs.Ino, shown string) {
	if r.hit[i] {
		fmt.Fprintf(r.list, "named: %q is inode %d, of which something is lost\n", shown, i)
	}
}

// entry gives a file the name that a directory has for it.
func (r *run) entry(d *dir, e fs.DirEntry, shown string, depth int) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if e.Type == unix.S_IFDIR {
		return r.subdirectory(d, e, shown, depth)
	}
	s, err := r.shard(e.Ino)
	if err != nil {
		return err
	}
	if !s.has(number(e.Ino)) {
		return r.missing(e, shown)
	}
	name, err := r.place(d, e, shown, func(name string) error {
		return unix.Linkat(s.fd(), number(e.Ino), d.fd(), name, 0)
	})
	if err != nil {
		r.lost("%q: name for inode %d: %v", shown, e.Ino, err)
		return nil
	}
	if name != "" {
		r.tellHit(e.Ino, shown)
	}
	return nil
}

// missing tells of a name whose file is gone.
func (r *run) missing(e fs.DirEntry, shown string) error {
	r.lost("%q: inode %d is lost", shown, e.Ino)
	return nil
}

// subdirectory makes a directory in d.
func (r *run) subdirectory(d *dir, e fs.DirEntry, shown string, depth int) error {
	if !r.dirs.has(number(e.Ino)) {
		if d.has(e.Name) {
			return nil // the second form of the same entry
		}
		return r.missing(e, shown)
	}
	if depth == maxDeep {
		r.changed("%q is too deep, and goes to lost+found as inode %d", shown, e.Ino)
		return nil
	}
	var inside error // which says nothing of the name
	_, err := r.place(d, e, shown, func(name string) error {
		if d.has(name) {
			return unix.EEXIST
		}
		sub, err := d.make(name)
		if err == nil {
			inside = r.directory(d, sub, name, e.Ino, shown, depth+1)
		}
		return err
	})
	return cmp.Or(err, inside)
}

// place calls put with the name of an entry, and with others if this machine does
// not take that. It returns the name, empty if the entry was there already.
func (r *run) place(d *dir, e fs.DirEntry, shown string, put func(name string) error) (string, error) {
	err := put(e.Name)
	if errors.Is(err, unix.EEXIST) && r.isPlaced(d, e.Name, e.Ino) {
		return "", nil
	}
	if err == nil || !nameRefused(err) {
		return e.Name, err
	}
	name := otherName(e)
	if err2 := put(name); err2 != nil {
		if errors.Is(err2, unix.EEXIST) {
			return "", nil
		}
		return "", err2
	}
	r.changed("%q is named %q here: %v", shown, name, err)
	return name, nil
}

// isPlaced reports whether name in d is the file of that number in work.
func (r *run) isPlaced(d *dir, name string, i fs.Ino) bool {
	s, err := r.shard(i)
	if err != nil {
		return false
	}
	var a, b unix.Stat_t
	return unix.Fstatat(d.fd(), name, &a, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		unix.Fstatat(s.fd(), number(i), &b, unix.AT_SYMLINK_NOFOLLOW) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// nameRefused reports whether another name may help.
func nameRefused(err error) bool {
	for _, e := range []error{unix.EEXIST, unix.EINVAL, unix.EILSEQ, unix.ENAMETOOLONG} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// maxPlain is how much of a name another name shows, in bytes.
const maxPlain = 60

// otherName is a name that every filesystem takes, with the inode to tell it from
// others.
func otherName(e fs.DirEntry) string {
	var b strings.Builder
	for i := range min(len(e.Name), maxPlain) {
		c := e.Name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' && i > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String() + "~" + number(e.Ino)
}

// leftovers puts into lost+found what has no name, and clears work away.
func (r *run) leftovers() error {
	if err := r.lostDirectories(); err != nil {
		return err
	}
	for n, s := range r.shards {
		if s == nil {
			continue
		}
		if err := r.lostFiles(s); err != nil {
			return err
		}
		if err := unix.Unlinkat(r.work.fd(), strconv.FormatUint(uint64(n), 16), unix.AT_REMOVEDIR); err != nil {
			return err
		}
	}
	if err := unix.Unlinkat(r.work.fd(), dirsName, unix.AT_REMOVEDIR); err != nil {
		return err
	}
	return unix.Unlinkat(r.top.fd(), workName, unix.AT_REMOVEDIR)
}

// lostDirectories makes the directories that no other one led to, those first in
// which the others stand.
func (r *run) lostDirectories() error {
	return eachName(r.dirs, func(name string) error {
		n, err := strconv.ParseUint(name, 10, 64)
		if err != nil || !r.dirs.has(name) {
			return nil
		}
		i := fs.Ino(n)
		for range maxDeep {
			_, parent, err := r.remains.Attr(r.ctx, i)
			if err != nil || parent == i || !r.dirs.has(number(parent)) {
				break
			}
			i = parent
		}
		r.summary.Nameless++
		shown := path.Join(foundName, number(i))
		r.lost("the name of a directory, which is %q now", shown)
		d, err := r.found.make(number(i))
		if err != nil {
			return err
		}
		return r.directory(r.found, d, number(i), i, shown, 0)
	})
}

// lostFiles takes the names in work away from files that have another one, and
// moves the others.
func (r *run) lostFiles(s *dir) error {
	return eachName(s, func(name string) error {
		var st unix.Stat_t
		if err := unix.Fstatat(s.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Nlink > 1 {
			return unix.Unlinkat(s.fd(), name, 0)
		}
		r.summary.Nameless++
		r.lost("the name of a file, which is %q now", path.Join(foundName, name))
		return unix.Renameat(s.fd(), name, r.found.fd(), name)
	})
}

// eachName calls fn for the names in a directory, which fn may remove, until none
// is left that fn was not called for.
func eachName(d *dir, fn func(string) error) error {
	for {
		if _, err := d.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		names, err := d.file.Readdirnames(1024)
		if err == io.EOF || len(names) == 0 {
			return nil
		} else if err != nil {
			return err
		}
		for _, name := range names {
			if err := fn(name); err != nil {
				return err
			}
		}
	}
}

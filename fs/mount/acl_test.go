package mount_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/mount"
)

// aclOf is an access control list: tag, permissions and id of each entry.
func aclOf(entries ...[3]uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

const nobody = ^uint32(0)

// aclTest runs on a mount and on a plain directory.
func aclTest(t *testing.T, dir string) {
	file, sub := filepath.Join(dir, "file"), filepath.Join(dir, "sub")
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mode := func(name string, want os.FileMode) {
		t.Helper()
		st, err := os.Lstat(name)
		ok(err)
		if st.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v", filepath.Base(name), st.Mode().Perm(), want)
		}
	}
	get := func(name, attr string) []byte {
		t.Helper()
		b := make([]byte, 1000)
		n, err := unix.Getxattr(name, attr, b)
		if errors.Is(err, unix.ENODATA) {
			return nil
		}
		ok(err)
		return b[:n]
	}
	const access, inherit = "system.posix_acl_access", "system.posix_acl_default"

	ok(os.WriteFile(file, nil, 0o600))
	ok(unix.Setxattr(file, access, aclOf([3]uint32{1, 6, nobody}, [3]uint32{4, 4, nobody}, [3]uint32{32, 4, nobody}), 0))
	mode(file, 0o644) // no more than a mode
	if b := get(file, access); b != nil {
		t.Errorf("%x is kept", b)
	}
	named := func(user, mask, other uint32) []byte {
		return aclOf([3]uint32{1, user, nobody}, [3]uint32{2, 7, 1234}, [3]uint32{4, 5, nobody}, [3]uint32{16, mask, nobody}, [3]uint32{32, other, nobody})
	}
	ok(unix.Setxattr(file, access, named(6, 7, 0), 0))
	mode(file, 0o670)
	ok(os.Chmod(file, 0o751))
	if b := get(file, access); !bytes.Equal(b, named(7, 5, 1)) {
		t.Errorf("%x after chmod", b)
	}

	ok(os.Mkdir(sub, 0o755))
	ok(unix.Setxattr(sub, inherit, named(7, 6, 1), 0))
	umask := syscall.Umask(0o077) // does not count where there is a default
	defer syscall.Umask(umask)
	ok(os.WriteFile(filepath.Join(sub, "f"), nil, 0o666))
	mode(filepath.Join(sub, "f"), 0o660)
	if b := get(filepath.Join(sub, "f"), access); !bytes.Equal(b, named(6, 6, 0)) {
		t.Errorf("%x is inherited", b)
	}
	ok(os.Mkdir(filepath.Join(sub, "d"), 0o777))
	if b := get(filepath.Join(sub, "d"), inherit); !bytes.Equal(b, named(7, 6, 1)) {
		t.Errorf("%x is inherited by a directory", b)
	}
	ok(os.WriteFile(filepath.Join(dir, "masked"), nil, 0o666))
	mode(filepath.Join(dir, "masked"), 0o600)
	if err := unix.Setxattr(file, inherit, named(7, 6, 1), 0); !errors.Is(err, unix.EACCES) {
		t.Errorf("default list on a file: %v", err)
	}
}

func TestACL(t *testing.T)                 { aclTest(t, mounted(t)) }
func TestACLOnPlainDirectory(t *testing.T) { aclTest(t, t.TempDir()) }

// Without access control lists there are none to the kernel, whatever is in the volume,
// and other extended attributes are as they were.
func TestNoACL(t *testing.T) {
	f := newFS(t, 1<<30)
	list := aclOf([3]uint32{1, 6, nobody}, [3]uint32{2, 7, 1234}, [3]uint32{4, 4, nobody}, [3]uint32{16, 7, nobody}, [3]uint32{32, 0, nobody})
	const access, user = "system.posix_acl_access", "user.colour"
	check(t, f.WriteFile("file", nil, 0o600))
	ctx, tree := t.Context(), f.Tree()
	a, err := tree.Lookup(ctx, fs.RootIno, "file")
	check(t, err)
	check(t, tree.SetXattr(ctx, a.Ino, access, list, 0))

	file := filepath.Join(showWith(t, f, mount.Options{AllowOther: true, NoACL: true}), "file")
	check(t, unix.Setxattr(file, user, []byte("blue"), 0))
	b := make([]byte, 1000)
	if _, err := unix.Getxattr(file, access, b); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("get: %v", err)
	}
	if err := unix.Setxattr(file, access, list, 0); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("set: %v", err)
	}
	if err := unix.Removexattr(file, access); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("remove: %v", err)
	}
	n, err := unix.Listxattr(file, b)
	if err != nil || string(b[:n]) != user+"\x00" {
		t.Errorf("list: %q, %v", b[:n], err)
	}
	umask := syscall.Umask(0o027)
	defer syscall.Umask(umask)
	made := filepath.Join(filepath.Dir(file), "made")
	check(t, os.WriteFile(made, nil, 0o666))
	if st, err := os.Stat(made); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("made under a umask of 027: %v, %v", st.Mode(), err)
	}
	kept, err := tree.GetXattr(ctx, a.Ino, access)
	if err != nil || !bytes.Equal(kept, list) {
		t.Errorf("the list became %x, %v", kept, err)
	}
}

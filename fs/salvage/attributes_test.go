package salvage_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/salvage"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// Owners, special files, ACLs and a deep tree come back as root salvages them.
func TestOwnersAndSpecialFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away and makes devices")
	}
	h := memhost.New(memhost.Options{})
	storetest.Create(t, h, 16<<20)
	s := storetest.Open(t, h)
	must(t, cofs.Format(bg, s, 0, 0))
	f, err := cofs.Open(bg, s, cofs.Options{})
	must(t, err)
	device := unix.Mkdev(1, 3)
	acl := aclOf(7, 6, 4)
	deep := strings.TrimSuffix(strings.Repeat("d/", 200), "/")
	must(t, errors.Join(
		f.WriteFile("owned", []byte("x"), 0o640), f.Chown("owned", 1234, 56789), f.Chmod("owned", 0o640|os.ModeSetgid),
		f.Symlink("owned", "link"), f.Lchown("link", 77, 78),
		f.Mknod("device", unix.S_IFCHR|0o620, uint32(device)), f.Mknod("fifo", unix.S_IFIFO|0o604, 0),
		f.WriteFile("acl", nil, 0o664), f.SetXattr("acl", "system.posix_acl_access", acl, 0), f.SetXattr("acl", "user.k", []byte("v"), 0),
		f.MkdirAll(deep, 0o755), f.WriteFile(deep+"/bottom", []byte("deep"), 0o600),
	))
	must(t, errors.Join(f.Close(), s.Close()))
	w, err := wreck(h)
	must(t, err)
	defer w.Close()
	dir := filepath.Join(t.TempDir(), "out")
	sum, err := salvage.Run(bg, w, dir, salvage.Options{})
	must(t, err)
	list, _ := os.ReadFile(filepath.Join(dir, "damage.txt"))
	if !sum.Whole() || sum.Changed > 0 {
		t.Errorf("%+v\n%s", sum, list)
	}
	for name, want := range map[string]string{
		"owned":  fmt.Sprintf("%o 1234 56789 0", unix.S_IFREG|0o2640),
		"link":   fmt.Sprintf("%o 77 78 0", unix.S_IFLNK|0o777),
		"device": fmt.Sprintf("%o 0 0 %d", unix.S_IFCHR|0o620, device),
		"fifo":   fmt.Sprintf("%o 0 0 0", unix.S_IFIFO|0o604),
	} {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(dir, "files", name), &st))
		if got := fmt.Sprintf("%o %d %d %d", st.Mode, st.Uid, st.Gid, st.Rdev); got != want {
			t.Errorf("%s: mode, owner, group and device are %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string][]byte{"system.posix_acl_access": acl, "user.k": []byte("v")} {
		b := make([]byte, 200)
		n, err := unix.Lgetxattr(filepath.Join(dir, "files", "acl"), name, b)
		if err != nil || !bytes.Equal(b[:n], want) {
			t.Errorf("%s: % x, %v", name, b[:max(n, 0)], err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "files", deep, "bottom")); string(b) != "deep" {
		t.Errorf("%q, %v", b, err)
	}
}

// aclOf is an access ACL in the kernel's form, with an entry for user 1000.
func aclOf(owner, mask, other byte) []byte {
	b := []byte{2, 0, 0, 0}
	for _, e := range []struct {
		tag  byte
		perm byte
		id   uint32
	}{{1, owner, ^uint32(0)}, {2, 4, 1000}, {4, 4, ^uint32(0)}, {16, mask, ^uint32(0)}, {32, other, ^uint32(0)}} {
		b = append(b, e.tag, 0, e.perm, 0, byte(e.id), byte(e.id>>8), byte(e.id>>16), byte(e.id>>24))
	}
	return b
}

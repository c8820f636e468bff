package fstest

import (
	"bytes"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/coffer-fs/coffer/fs"
)

func (t *tester) mode(name string, want uint32) {
	t.Helper()
	if got := t.stat(name).Mode & 0o7777; got != want {
		t.Errorf("%q has mode %o, want %o", name, got, want)
	}
}

func testModes(t *tester) {
	t.write("f", "")
	for _, m := range []uint32{0, 0o777, 0o1755, 0o6644, 0o7777} {
		t.ok(t.Chmod("f", m))
		t.mode("f", m)
	}
	t.ok(t.Symlink("f", "s"))
	t.ok(t.Chmod("s", 0o640))
	t.mode("f", 0o640)
	t.fails(t.Chmod("none", 0), syscall.ENOENT)
}

func testChownClears(t *tester) {
	t.write("f", "")
	for before, after := range map[uint32]uint32{0o6755: 0o755, 0o4711: 0o711, 0o2644: 0o2644} {
		t.ok(t.Chmod("f", before))
		t.ok(t.Lchown("f", 12, 34))
		t.mode("f", after)
	}
	if a := t.stat("f"); a.UID != 12 || a.GID != 34 {
		t.Errorf("owner %d:%d", a.UID, a.GID)
	}
	t.ok(t.Lchown("f", -1, 56))
	if a := t.stat("f"); a.UID != 12 || a.GID != 56 {
		t.Errorf("owner %d:%d", a.UID, a.GID)
	}
	t.ok(t.Symlink("f", "s"))
	t.ok(t.Lchown("s", 7, 8))
	if a := t.stat("s"); a.UID != 7 || t.stat("f").UID != 12 {
		t.Errorf("owner %d:%d", a.UID, a.GID)
	}
	t.ok(t.Mkdir("d", 0o755))
	t.ok(t.Chmod("d", 0o6755))
	t.ok(t.Lchown("d", 1, 2))
	t.mode("d", 0o6755)
}

func testSetgidDirs(t *tester) {
	t.ok(t.Mkdir("d", 0o755))
	t.ok(t.Lchown("d", 0, 77))
	t.ok(t.Chmod("d", 0o2755))
	t.write("d/f", "")
	t.ok(t.Mkdir("d/sub", 0o755))
	if g := t.stat("d/f").GID; g != 77 {
		t.Errorf("file of group %d", g)
	}
	if a := t.stat("d/sub"); a.GID != 77 || a.Mode&syscall.S_ISGID == 0 {
		t.Errorf("directory of group %d, mode %o", a.GID, a.Mode)
	}
}

func testTimes(t *tester) {
	t.write("f", "")
	for _, ns := range []int64{1, 999_999_999, -1_500_000_000, 1<<31*1e9 + 7, 1_700_000_000_123_456_789} {
		at, mt := time.Unix(0, ns), time.Unix(0, ns/2)
		t.ok(t.Chtimes("f", at, mt))
		if a := t.stat("f"); !a.Atime.Equal(at) || !a.Mtime.Equal(mt) {
			t.Errorf("times %v %v, want %v %v", a.Atime, a.Mtime, at, mt)
		}
	}
}

// testChangeTimes checks which operations set which times.
func testChangeTimes(t *tester) {
	past := time.Unix(1_000_000_000, 0)
	t.ok(t.Mkdir("d", 0o755))
	t.write("d/f", "f")
	for name, c := range map[string]struct {
		do         func() error
		file       string
		mtime, dir bool
		ctime      bool
	}{
		"write":    {func() error { t.write("d/f", "x"); return nil }, "d/f", true, false, true},
		"chmod":    {func() error { return t.Chmod("d/f", 0o600) }, "d/f", false, false, true},
		"truncate": {func() error { return t.Truncate("d/f", 7) }, "d/f", true, false, true},
		"link":     {func() error { return t.Link("d/f", "d/g") }, "d/f", false, true, true},
		"unlink":   {func() error { return t.Remove("d/g") }, "d/f", false, true, true},
		"xattr":    {func() error { return t.SetXattr("d/f", "user.x", nil, 0) }, "d/f", false, false, true},
		"read":     {func() error { t.read("d/f"); return nil }, "d/f", false, false, false},
	} {
		if name == "unlink" {
			_ = t.Link("d/f", "d/g")
		} else if name == "link" {
			_ = t.Remove("d/g")
		}
		t.ok(t.Chtimes("d/f", past, past))
		t.ok(t.Chtimes("d", past, past))
		before := t.stat("d/f").Ctime
		time.Sleep(10 * time.Millisecond) // the kernel's clock has a coarse tick
		t.ok(c.do())
		a, d := t.stat(c.file), t.stat("d")
		if a.Mtime.Equal(past) == c.mtime || d.Mtime.Equal(past) == c.dir || a.Ctime.After(before) != c.ctime {
			t.Errorf("%s: mtime %v, ctime %v after %v, directory %v", name, a.Mtime, a.Ctime, before, d.Mtime)
		}
	}
}

func testBlocks(t *tester) {
	t.write("f", strings.Repeat("x", 1<<20))
	if b := t.stat("f").Bytes; b < 1<<20 {
		t.Errorf("a file of 1 MiB takes %d bytes before it is written", b)
	}
	f := t.open("f", rdwr)
	defer f.Close()
	t.ok(f.Sync())
	if b := t.stat("f").Bytes; b < 1<<20 || b > 1<<20+64<<10 {
		t.Errorf("a file of 1 MiB takes %d bytes", b)
	}
}

func testXattrs(t *tester) {
	t.write("f", "")
	t.ok(t.Mkdir("d", 0o755))
	for _, name := range []string{"f", "d"} {
		t.ok(t.SetXattr(name, "user.a", []byte("1"), 0))
		t.ok(t.SetXattr(name, "user.b", nil, 0))
		t.ok(t.SetXattr(name, "user.a", []byte("\x00\xff"), 0))
		if v, err := t.GetXattr(name, "user.a"); err != nil || string(v) != "\x00\xff" {
			t.Errorf("%q, %v", v, err)
		}
		if v, err := t.GetXattr(name, "user.b"); err != nil || len(v) != 0 {
			t.Errorf("%q, %v", v, err)
		}
		list, err := t.ListXattr(name)
		t.ok(err)
		slices.Sort(list)
		if !slices.Equal(list, []string{"user.a", "user.b"}) {
			t.Errorf("%q", list)
		}
		t.ok(t.RemoveXattr(name, "user.a"))
		t.fails(t.RemoveXattr(name, "user.a"), syscall.ENODATA)
		_, err = t.GetXattr(name, "user.a")
		t.fails(err, syscall.ENODATA)
	}
}

func testLargeXattrs(t *tester) {
	t.write("f", "")
	for _, size := range []int{2500, 2560, 2561, 3900} { // ext4 takes no more than a block
		value := bytes.Repeat([]byte("v"), size)
		if err := t.SetXattr("f", "user.large", value, 0); err != nil {
			t.fails(err, syscall.ENOSPC)
			continue
		}
		if v, err := t.GetXattr("f", "user.large"); err != nil || !bytes.Equal(v, value) {
			t.Errorf("%d bytes, %v, want %d", len(v), err, size)
		}
	}
	value := bytes.Repeat([]byte("v"), fs.MaxXattr)
	if err := t.SetXattr("f", "user.large", value, 0); err == nil {
		if v, err := t.GetXattr("f", "user.large"); err != nil || !bytes.Equal(v, value) {
			t.Errorf("%d bytes, %v", len(v), err)
		}
	}
	t.fails(t.SetXattr("f", "user.larger", make([]byte, fs.MaxXattr+1), 0), syscall.E2BIG)
	t.fails(t.SetXattr("f", "user."+strings.Repeat("x", 251), nil, 0), syscall.ERANGE)
}

func testXattrFlags(t *tester) {
	t.write("f", "")
	t.fails(t.SetXattr("f", "user.a", nil, fs.XattrReplace), syscall.ENODATA)
	t.ok(t.SetXattr("f", "user.a", []byte("1"), fs.XattrCreate))
	t.fails(t.SetXattr("f", "user.a", []byte("2"), fs.XattrCreate), syscall.EEXIST)
	t.ok(t.SetXattr("f", "user.a", []byte("3"), fs.XattrReplace))
	if v, err := t.GetXattr("f", "user.a"); err != nil || string(v) != "3" {
		t.Errorf("%q, %v", v, err)
	}
}

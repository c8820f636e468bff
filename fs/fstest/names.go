package fstest

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"

	"github.com/coffer-fs/coffer/fs"
)

const rdwr = syscall.O_RDWR

func testCreate(t *tester) {
	t.write("f", "one")
	t.write("f", "2")
	t.holds("f", "2")
	if a := t.stat("f"); a.Type() != syscall.S_IFREG || a.Links != 1 || a.Size != 1 {
		t.Errorf("%+v", a)
	}
}

func testExclusive(t *tester) {
	flag := rdwr | syscall.O_CREAT | syscall.O_EXCL
	t.ok(t.open("f", flag).Close())
	t.ok(t.Symlink("nowhere", "link"))
	t.ok(t.Mkdir("dir", 0o755))
	for _, name := range []string{"f", "link", "dir"} {
		_, err := t.Open(name, flag, 0o644)
		t.fails(err, syscall.EEXIST)
	}
	t.gone("nowhere")
}

func testOpenErrors(t *tester) {
	t.write("f", "")
	t.ok(t.Mkdir("dir", 0o755))
	t.ok(t.Symlink("f", "link"))
	for _, c := range []struct {
		name string
		flag int
		want syscall.Errno
	}{
		{"none", rdwr, syscall.ENOENT},
		{"none/f", rdwr | syscall.O_CREAT, syscall.ENOENT},
		{"f/x", rdwr | syscall.O_CREAT, syscall.ENOTDIR},
		{"dir", rdwr, syscall.EISDIR},
		{"dir", syscall.O_RDONLY | syscall.O_CREAT, syscall.EISDIR},
		{"f", syscall.O_DIRECTORY, syscall.ENOTDIR},
		{"link", rdwr | syscall.O_NOFOLLOW, syscall.ELOOP},
	} {
		_, err := t.Open(c.name, c.flag, 0o644)
		if t.fails(err, c.want); t.Failed() {
			t.Fatal(c)
		}
	}
	f := t.open("f", syscall.O_RDONLY)
	defer f.Close()
	_, err := f.Write([]byte("x"))
	t.fails(err, syscall.EBADF)
	w := t.open("f", syscall.O_WRONLY)
	defer w.Close()
	_, err = w.Read(make([]byte, 1))
	t.fails(err, syscall.EBADF)
}

func testMkdir(t *tester) {
	t.ok(t.Mkdir("a", 0o700))
	t.links("a", 2)
	t.ok(t.Mkdir("a/b", 0o755))
	t.links("a", 3)
	t.fails(t.Mkdir("a", 0o755), syscall.EEXIST)
	t.fails(t.Mkdir("none/a", 0o755), syscall.ENOENT)
	t.write("f", "")
	t.fails(t.Mkdir("f/a", 0o755), syscall.ENOTDIR)
	t.fails(t.Mkdir("f", 0o755), syscall.EEXIST)
	if m := t.stat("a").Mode; m != syscall.S_IFDIR|0o700 {
		t.Errorf("mode %o", m)
	}
}

func testRemove(t *tester) {
	t.ok(t.Mkdir("a", 0o755))
	t.write("a/f", "x")
	t.fails(t.Remove("a"), syscall.ENOTEMPTY)
	t.ok(t.Remove("a/f"))
	t.fails(t.Remove("a/f"), syscall.ENOENT)
	t.ok(t.Remove("a"))
	t.gone("a")
	t.fails(t.Remove("a/f"), syscall.ENOENT)
}

func testLinks(t *tester) {
	t.write("f", "x")
	t.ok(t.Link("f", "g"))
	t.links("f", 2)
	t.write("g", "changed")
	t.holds("f", "changed")
	if t.stat("f").Ino != t.stat("g").Ino {
		t.Error("two inodes")
	}
	t.ok(t.Remove("f"))
	t.links("g", 1)
	t.holds("g", "changed")
	t.ok(t.Mkdir("d", 0o755))
	t.fails(t.Link("d", "d2"), syscall.EPERM)
	t.fails(t.Link("g", "d"), syscall.EEXIST)
	t.fails(t.Link("none", "x"), syscall.ENOENT)
	t.fails(t.Link("g", "none/x"), syscall.ENOENT)
	t.ok(t.Symlink("g", "s"))
	t.ok(t.Link("s", "s2")) // the link itself
	if t.stat("s2").Type() != syscall.S_IFLNK {
		t.Error("followed the symbolic link")
	}
}

func testUnlinkOpen(t *tester) {
	f := t.open("f", rdwr|syscall.O_CREAT)
	_, err := f.Write(bytes.Repeat([]byte("x"), 100_000))
	t.ok(err)
	t.ok(t.Remove("f"))
	t.gone("f")
	t.stillThere(f, 100_000)
	t.write("f", "another one")
	t.stillThere(f, 100_000)
	t.ok(f.Close())
	t.holds("f", "another one")
}

// stillThere wants an open file without a name to be usable.
func (t *tester) stillThere(f File, size int64) {
	t.Helper()
	a, err := f.Stat()
	t.ok(err)
	if a.Links != 0 || a.Size != size {
		t.Errorf("%d links, size %d", a.Links, a.Size)
	}
	_, err = f.WriteAt([]byte("y"), size-1)
	t.ok(err)
	b := make([]byte, 2)
	_, err = f.ReadAt(b, size-2)
	t.ok(err)
	if string(b) != "xy" {
		t.Errorf("read %q", b)
	}
	_, err = f.WriteAt([]byte("x"), size-1)
	t.ok(err)
}

func testRenameOpen(t *tester) {
	f := t.open("f", rdwr|syscall.O_CREAT)
	_, err := f.Write([]byte("xx"))
	t.ok(err)
	t.write("g", "new")
	t.ok(t.Rename("g", "f", 0))
	t.stillThere(f, 2)
	t.ok(f.Close())
	t.holds("f", "new")
}

func testRename(t *tester) {
	t.write("f", "f")
	t.ok(t.Rename("f", "g", 0))
	t.gone("f")
	t.holds("g", "f")
	t.write("h", "h")
	t.ok(t.Rename("g", "h", 0))
	t.gone("g")
	t.holds("h", "f")
	t.ok(t.Rename("h", "h", 0))
	t.ok(t.Link("h", "i"))
	t.ok(t.Rename("h", "i", 0)) // two names of one file: nothing happens
	t.holds("h", "f")
	t.links("i", 2)
	t.fails(t.Rename("none", "x", 0), syscall.ENOENT)
	t.fails(t.Rename("h", "none/x", 0), syscall.ENOENT)
	t.ok(t.Mkdir("d", 0o755))
	t.fails(t.Rename("h", "d", 0), syscall.EISDIR)
	t.fails(t.Rename("d", "h", 0), syscall.ENOTDIR)
}

func testRenameDirs(t *tester) {
	for _, d := range []string{"a", "a/x", "b", "full"} {
		t.ok(t.Mkdir(d, 0o755))
	}
	t.write("a/x/f", "f")
	t.write("full/f", "")
	t.ok(t.Rename("a/x", "b/x", 0))
	t.links("a", 2)
	t.links("b", 3)
	t.holds("b/x/f", "f")
	t.holds("b/x/../x/f", "f")
	t.ok(t.Rename("b/x", "a", 0)) // an empty one gives way
	t.holds("a/f", "f")
	t.links("b", 2)
	t.fails(t.Rename("a", "full", 0), syscall.ENOTEMPTY, syscall.EEXIST)
	t.holds("a/f", "f")
}

func testNoReplace(t *tester) {
	t.write("f", "f")
	t.write("g", "g")
	t.ok(t.Rename("f", "h", fs.RenameNoReplace))
	t.fails(t.Rename("h", "g", fs.RenameNoReplace), syscall.EEXIST)
	t.fails(t.Rename("h", "h", fs.RenameNoReplace), syscall.EEXIST)
	t.holds("g", "g")
	t.holds("h", "f")
}

func testExchange(t *tester) {
	t.write("f", "f")
	t.ok(t.Mkdir("d", 0o755))
	t.ok(t.Mkdir("d/sub", 0o755))
	t.write("d/sub/x", "x")
	t.fails(t.Rename("f", "none", fs.RenameExchange), syscall.ENOENT)
	t.ok(t.Rename("f", "d/sub", fs.RenameExchange))
	t.holds("d/sub", "f")
	t.holds("f/x", "x")
	t.links("d", 2)
	t.ok(t.Mkdir("e", 0o755))
	t.ok(t.Rename("f", "e", fs.RenameExchange))
	t.holds("e/x", "x")
	t.fails(t.Rename("d", "d/sub", fs.RenameExchange), syscall.EINVAL)
}

func testOwnSubtree(t *tester) {
	t.ok(t.Mkdir("a", 0o755))
	t.ok(t.Mkdir("a/b", 0o755))
	t.ok(t.Mkdir("a/b/c", 0o755))
	t.fails(t.Rename("a", "a/b/c/d", 0), syscall.EINVAL)
	t.fails(t.Rename("a", "a/x", 0), syscall.EINVAL)
	t.fails(t.Rename("a/b/c", "a", 0), syscall.ENOTEMPTY, syscall.EEXIST)
	t.fails(t.Rename("a/b", "a/b", fs.RenameExchange|fs.RenameNoReplace), syscall.EINVAL)
}

func testSymlinks(t *tester) {
	t.ok(t.Mkdir("d", 0o755))
	t.ok(t.Symlink("d/f", "s"))
	if f, err := t.Open("s", rdwr|syscall.O_CREAT, 0o644); err != nil { // made where it leads
		t.Error(err)
	} else {
		t.ok(f.Close())
	}
	t.write("s", "through")
	t.holds("d/f", "through")
	t.ok(t.Symlink("../d", "d/self"))
	t.holds("d/self/self/f", "through")
	if a := t.stat("s"); a.Type() != syscall.S_IFLNK || a.Size != 3 {
		t.Errorf("%+v", a)
	}
	a, err := t.Stat("s")
	t.ok(err)
	if a.Type() != syscall.S_IFREG {
		t.Error("not followed")
	}
	long := strings.Repeat("x/", 2047) + "y"
	t.ok(t.Symlink(long, "long"))
	if got, err := t.Readlink("long"); err != nil || got != long {
		t.Errorf("target of %d bytes, %v", len(got), err)
	}
	_, err = t.Readlink("d")
	t.fails(err, syscall.EINVAL)
	t.fails(t.Symlink(strings.Repeat("x", 4096), "longer"), syscall.ENAMETOOLONG)
	t.fails(t.Symlink("", "empty"), syscall.ENOENT)
	t.ok(t.Remove("s"))
	t.holds("d/f", "through")
}

func testSymlinkLoops(t *tester) {
	t.ok(t.Symlink("b", "a"))
	t.ok(t.Symlink("a", "b"))
	for _, flag := range []int{rdwr, rdwr | syscall.O_CREAT} {
		_, err := t.Open("a", flag, 0o644)
		t.fails(err, syscall.ELOOP)
	}
	_, err := t.Stat("a/x")
	t.fails(err, syscall.ELOOP)
}

func testSlashes(t *tester) {
	t.ok(t.Mkdir("d/", 0o755))
	t.write("f", "f")
	t.ok(t.Symlink("d", "s"))
	_, err := t.Stat("f/")
	t.fails(err, syscall.ENOTDIR)
	_, err = t.Open("new/", rdwr|syscall.O_CREAT, 0o644)
	t.fails(err, syscall.EISDIR)
	t.fails(t.Remove("f/"), syscall.ENOTDIR)
	t.fails(t.Rename("f", "g/", 0), syscall.ENOTDIR)
	t.fails(t.Rename("f/", "g", 0), syscall.ENOTDIR)
	t.ok(t.Rename("d/", "e/", 0))
	t.ok(t.Rename("e", "d", 0))
	a, err := t.Lstat("s/")
	t.ok(err)
	if !a.IsDir() {
		t.Error("a link before a slash is not followed")
	}
	t.write("d//x", "x")
	t.holds(".//d/./x", "x")
}

func testNames(t *tester) {
	var all []byte
	for c := 1; c < 256; c++ {
		if c != '/' {
			all = append(all, byte(c))
		}
	}
	for _, name := range []string{string(all), strings.Repeat("x", fs.MaxName), "\xff\xfe", " ", "-", "..."} {
		t.write(name, name)
		t.holds(name, name)
		t.ok(t.Rename(name, "moved", 0))
		t.ok(t.Rename("moved", name, 0))
		t.ok(t.Link(name, "other"))
		t.ok(t.Remove("other"))
	}
	t.write("case", "a")
	t.write("CASE", "b")
	t.holds("case", "a")
	long := strings.Repeat("x", fs.MaxName+1)
	_, err := t.Open(long, rdwr|syscall.O_CREAT, 0o644)
	t.fails(err, syscall.ENAMETOOLONG)
	t.fails(t.Mkdir(long, 0o755), syscall.ENAMETOOLONG)
	t.fails(t.Rename("case", long, 0), syscall.ENAMETOOLONG)
	t.fails(t.Remove(long), syscall.ENAMETOOLONG)
	d := t.open(".", syscall.O_RDONLY)
	defer d.Close()
	es, err := d.ReadDir(-1)
	t.ok(err)
	found := false
	for _, e := range es {
		found = found || e.Name() == string(all)
	}
	if !found {
		t.Error("a name of every byte is not listed as it is")
	}
}

func testSpecial(t *tester) {
	t.ok(t.Mknod("fifo", syscall.S_IFIFO|0o600))
	t.ok(t.Mknod("sock", syscall.S_IFSOCK|0o600))
	for name, want := range map[string]uint32{"fifo": syscall.S_IFIFO, "sock": syscall.S_IFSOCK} {
		if got := t.stat(name).Type(); got != want {
			t.Errorf("%s: type %o", name, got)
		}
	}
	t.fails(t.Mknod("fifo", syscall.S_IFIFO|0o600), syscall.EEXIST)
	t.ok(t.Remove("fifo"))
}

func testReadDir(t *tester) {
	t.ok(t.Mkdir("d", 0o755))
	want := map[string]bool{}
	for i := range 1500 {
		name := fmt.Sprintf("name-%d", i)
		t.ok(t.Mknod("d/"+name, syscall.S_IFREG|0o600))
		want[name] = true
	}
	d := t.open("d", syscall.O_RDONLY)
	defer d.Close()
	for range 2 {
		got := map[string]bool{}
		es, err := d.ReadDir(-1)
		t.ok(err)
		for _, e := range es {
			got[e.Name()] = true
		}
		if len(es) != len(want) || len(got) != len(want) {
			t.Errorf("%d entries, %d names, want %d", len(es), len(got), len(want))
		}
		_, err = d.Seek(0, 0)
		t.ok(err)
	}
}

// testReadDirChanging reads a directory while others come and go: what is there
// all the time is found once.
func testReadDirChanging(t *tester) {
	t.ok(t.Mkdir("d", 0o755))
	for i := range 1200 {
		t.ok(t.Mknod(fmt.Sprintf("d/stays-%d", i), syscall.S_IFREG|0o600))
		t.ok(t.Mknod(fmt.Sprintf("d/goes-%d", i), syscall.S_IFREG|0o600))
	}
	d := t.open("d", syscall.O_RDONLY)
	defer d.Close()
	seen := map[string]int{}
	for i := 0; ; i++ {
		es, err := d.ReadDir(100)
		for _, e := range es {
			seen[e.Name()]++
		}
		if err != nil || len(es) == 0 {
			break
		}
		for k := i * 50; k < i*50+50 && k < 1200; k++ {
			t.ok(t.Remove(fmt.Sprintf("d/goes-%d", k)))
			t.ok(t.Mknod(fmt.Sprintf("d/comes-%d", k), syscall.S_IFREG|0o600))
		}
	}
	for i := range 1200 {
		if n := seen[fmt.Sprintf("stays-%d", i)]; n != 1 {
			t.Fatalf("a name that was there was found %d times", n)
		}
	}
}

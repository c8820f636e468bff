package fstest

import (
	"syscall"

	"github.com/coffer-fs/coffer/fs"
)

// attachedDir is where the other filesystem is.
const attachedDir = "in"

var attachedTests = map[string]func(*tester){
	"Paths": testAttachedPaths, "Bounds": testAttachedBounds, "Stays": testAttachedStays, "ReadDir": testAttachedReadDir,
}

// testAttachedPaths: paths lead in and out, and what is hidden stays so.
func testAttachedPaths(t *tester) {
	if a := t.stat("in"); a.Type() != syscall.S_IFDIR || a.Mode&0o7777 != 0o1777 {
		t.Errorf("%+v", a)
	}
	t.gone("in/hidden")
	t.write("out", "outside")
	t.write("in/file", "inside")
	t.ok(t.Mkdir("in/dir", 0o755))
	t.ok(t.Symlink("in/file", "link"))
	t.ok(t.Symlink("../out", "in/up"))
	for name, want := range map[string]string{
		"in/../out": "outside", "in/dir/../../out": "outside", "in/.././in/file": "inside", "in/dir/../file": "inside",
		"link": "inside", "in/up": "outside",
	} {
		t.holds(name, want)
	}
	t.ok(t.Symlink("in/made", "new"))
	t.write("new", "through a link")
	t.holds("in/made", "through a link")
	t.ok(t.Chmod("in", 0o1770))
	if a := t.stat("in"); a.Mode&0o7777 != 0o1770 {
		t.Errorf("mode %o", a.Mode)
	}
}

// testAttachedBounds: nothing is renamed or linked between them, in either direction.
func testAttachedBounds(t *tester) {
	for _, dir := range []string{"d", "in/d"} {
		t.ok(t.Mkdir(dir, 0o755))
		t.write(dir+"/f", dir)
	}
	for from, to := range map[string]string{"d/f": "in/d/g", "in/d/f": "d/g"} {
		t.fails(t.Rename(from, to, 0), syscall.EXDEV)
		t.fails(t.Link(from, to), syscall.EXDEV)
		t.fails(t.Rename(from, from[:len(from)-1]+"none/x", 0), syscall.ENOENT, syscall.ENOTDIR)
	}
	t.fails(t.Rename("d/f", "in/d/f", fs.RenameExchange), syscall.EXDEV)
	t.fails(t.Rename("d/f", "in/d/f", fs.RenameNoReplace), syscall.EXDEV, syscall.EEXIST)
	t.fails(t.Rename("in/d", "d/d", 0), syscall.EXDEV)
	t.holds("d/f", "d")
	t.holds("in/d/f", "in/d")
	t.ok(t.Rename("in/d/f", "in/d/g", 0))
	t.ok(t.Link("in/d/g", "in/h"))
	t.links("in/d/g", 2)
	t.links("d/f", 1)
}

// testAttachedStays: the directory that shows it can't be taken away.
func testAttachedStays(t *tester) {
	t.ok(t.Mkdir("d", 0o755))
	t.write("f", "")
	t.fails(t.Mkdir("in", 0o755), syscall.EEXIST)
	t.fails(t.Remove("in"), syscall.EBUSY)
	t.fails(t.Rename("in", "other", 0), syscall.EBUSY)
	t.fails(t.Rename("d", "in", 0), syscall.EBUSY)
	t.fails(t.Rename("f", "in", 0), syscall.EBUSY, syscall.EISDIR)
	t.fails(t.Rename("in", "d", 0), syscall.EBUSY)
	t.fails(t.Rename("in", "d", fs.RenameExchange), syscall.EBUSY)
	t.fails(t.Rename("d", "in", fs.RenameExchange), syscall.EBUSY)
	t.write("in/file", "still here")
	t.holds("in/file", "still here")
}

// testAttachedReadDir: it is listed once, as what is seen there, and its own entries
// are its own.
func testAttachedReadDir(t *tester) {
	t.write("f", "")
	t.write("in/g", "")
	for dir, want := range map[string]string{".": "in", "in": "g"} {
		d := t.open(dir, syscall.O_RDONLY)
		es, err := d.ReadDir(-1)
		t.ok(err)
		t.ok(d.Close())
		found := 0
		for _, e := range es {
			if e.Name() != want {
				continue
			}
			found++
			i, err := e.Info()
			t.ok(err)
			if e.IsDir() != (want == "in") || i.Mode() != t.stat(dir+"/"+want).FileMode() {
				t.Errorf("%q in %q: %v", want, dir, i.Mode())
			}
		}
		if found != 1 {
			t.Errorf("%q is listed %d times in %q", want, found, dir)
		}
	}
}

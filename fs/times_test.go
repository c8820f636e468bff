package fs_test

import (
	"context"
	"errors"
	"testing"
	"time"

	cofs "github.com/coffer-fs/coffer/fs"
)

// Times that are set are buffered as data is. They must be seen at once, survive
// Sync and Open, and give way to those of a later write.
func TestSetTimes(t *testing.T) {
	ctx := context.Background()
	f, st := newFS(t)
	if err := f.WriteFile("file", make([]byte, 5000), 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := f.Tree().Lookup(ctx, cofs.RootIno, "file")
	if err != nil {
		t.Fatal(err)
	}
	old, older := time.Unix(1e9, 5), time.Unix(5e8, 7)
	for _, want := range []struct{ atime, mtime time.Time }{
		{old, older}, {older, old}, {time.Unix(0, 0), time.Unix(0, 0)}, {old, time.Unix(1<<33, 0)},
	} {
		begun := time.Now()
		a, err := f.Tree().SetAttr(ctx, a.Ino, cofs.SetAttr{Atime: &want.atime, Mtime: &want.mtime})
		if err != nil {
			t.Fatal(err)
		}
		check := func(when string, a cofs.Attr) {
			t.Helper()
			if !a.Atime.Equal(want.atime) || !a.Mtime.Equal(want.mtime) {
				t.Errorf("%s: atime %v, mtime %v, want %v and %v", when, a.Atime, a.Mtime, want.atime, want.mtime)
			}
			if a.Ctime.Before(begun) || a.Ctime.After(time.Now()) {
				t.Errorf("%s: ctime %v, set after %v", when, a.Ctime, begun)
			}
		}
		check("at once", a)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		again, err := cofs.Open(ctx, st, cofs.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		b, err := again.Tree().GetAttr(ctx, a.Ino)
		if err != nil {
			t.Fatal(err)
		}
		check("opened again", b)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	file, err := f.OpenFile("file", 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, size := range []int{10, 100_000} { // buffered, and not
		if _, err := f.Tree().SetAttr(ctx, a.Ino, cofs.SetAttr{Atime: &old, Mtime: &old}); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := file.WriteAt(make([]byte, size), 0); err != nil {
			t.Fatal(err)
		}
		b, err := f.Tree().GetAttr(ctx, a.Ino)
		if err != nil || b.Mtime.Before(begun) || b.Ctime.Before(begun) || !b.Atime.Equal(old) {
			t.Errorf("after a write of %d bytes at %v: %+v, %v", size, begun, b, err)
		}
	}
}

// Files that are forgotten together are deleted together, large and small; one that
// is open stays until it is closed.
func TestForgottenTogether(t *testing.T) {
	ctx := context.Background()
	f, st := newFS(t)
	tree := f.Tree()
	known := map[cofs.Ino]bool{}
	tree.KeepKnown(func(i cofs.Ino) bool { return known[i] })
	before, err := tree.StatFS(ctx)
	if err != nil {
		t.Fatal(err)
	}
	used := st.Space().Used
	for n := range 300 {
		name := string([]byte{'a' + byte(n/26), 'a' + byte(n%26)})
		a, err := tree.Make(ctx, cofs.RootIno, name, cofs.NewNode{Mode: 0o100644})
		if err != nil {
			t.Fatal(err)
		}
		known[a.Ino] = true
		size := []int{0, 100, 5000}[n%3]
		if n%100 == 0 {
			size = 10 << 20
		}
		if err := f.WriteFile(name, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 300 {
		if err := f.Remove(string([]byte{'a' + byte(n/26), 'a' + byte(n%26)})); err != nil {
			t.Fatal(err)
		}
	}
	all := make([]cofs.Ino, 0, len(known))
	for i := range known {
		all = append(all, i)
	}
	open, err := tree.OpenInode(ctx, all[0])
	if err != nil {
		t.Fatal(err)
	}
	clear(known)
	for _, i := range all {
		tree.Forgotten(i)
	}
	if _, err := open.ReadAt(ctx, make([]byte, 1), 0); err != nil && err.Error() != "EOF" {
		t.Errorf("read of a file that is open: %v", err)
	}
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	g, err := cofs.Open(ctx, st, cofs.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	after, err := g.Tree().StatFS(ctx)
	if err != nil || before.Inodes-before.FreeInodes != after.Inodes-after.FreeInodes {
		t.Errorf("inodes in use: %d before, %d after, %v", before.Inodes-before.FreeInodes, after.Inodes-after.FreeInodes, err)
	}
	if left := st.Space().Used - used; left > 1<<20 {
		t.Errorf("%d bytes are left", left)
	}
}

// Times of a file without a name stay in memory: they are seen, and go with it to its
// first name, before anything later.
func TestTimesOfUnnamed(t *testing.T) {
	ctx := context.Background()
	f, st := newFS(t)
	tree := f.Tree()
	file, a, err := tree.MakeUnnamed(ctx, cofs.RootIno, cofs.NewNode{Mode: 0o100644})
	if err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1e9, 5)
	if a, err = tree.SetAttr(ctx, a.Ino, cofs.SetAttr{Atime: &old, Mtime: &old}); err != nil || !a.Mtime.Equal(old) {
		t.Fatalf("%+v, %v", a, err)
	}
	if a, err = tree.Link(ctx, a.Ino, cofs.RootIno, "file"); err != nil || !a.Mtime.Equal(old) {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := errors.Join(st.Commit(ctx), file.Close()); err != nil { // of the volume alone: nothing is flushed
		t.Fatal(err)
	}
	again, err := cofs.Open(ctx, st, cofs.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := again.Tree().GetAttr(ctx, a.Ino)
	if err := errors.Join(err, again.Close()); err != nil || !b.Mtime.Equal(old) || !b.Atime.Equal(old) {
		t.Errorf("opened again: %+v, %v", b, err)
	}
}

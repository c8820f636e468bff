package mount_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/mount"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/storetest"
)

// A kernel drops an answer that ends in an error, with the inodes in it: it must not
// count as having been told of these.
func TestListingThatFailsHalfWay(t *testing.T) {
	const inodeItem, count, lost = 1, 400, 300 // far behind the first of what is fetched at once
	ctx := context.Background()
	st := storetest.New(t)
	check(t, fs.Format(ctx, st, 0, 0))
	f, err := fs.Open(ctx, st, fs.Options{})
	check(t, err)
	t.Cleanup(func() { check(t, f.Close()) })
	var inos []fs.Ino
	for i := range count {
		a, err := f.Tree().Make(ctx, fs.RootIno, fmt.Sprint(i), fs.NewNode{Mode: 0o100600})
		check(t, err)
		inos = append(inos, a.Ino)
	}
	check(t, st.Update(ctx, func(tx *store.Tx) error {
		return tx.Delete(store.Key{Object: uint64(inos[lost]), Type: inodeItem})
	}))
	st1, known := mount.ListRoot(f, 0, inos[0])
	if st1 != fuse.OK || known != 1 {
		t.Errorf("from the start: %v, and the first file is known %d times", st1, known)
	}
	// Where that answer ended: behind "." and "..", and what was fetched whole.
	st2, known := mount.ListRoot(f, 2+256, inos[256])
	if st2 != fuse.EIO || known != 0 {
		t.Errorf("from there on: %v, and the file there is known %d times", st2, known)
	}
}

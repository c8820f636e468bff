package fs_test

import (
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
)

// Item types, as docs/format-fs.md has them.
const (
	inodeItem, xattrItem, entryItem, indexItem = 1, 2, 5, 6
	superItem, orphanItem                      = 1, 7
)

// TestCheckFinds breaks one thing at a time.
func TestCheckFinds(t *testing.T) {
	for name, c := range map[string]struct {
		hurt func(tx *store.Tx, ino func(string) uint64) error
		want string
	}{
		"a name too many on record": {func(tx *store.Tx, ino func(string) uint64) error {
			return edit(tx, store.Key{Object: ino("d/f"), Type: inodeItem}, func(b []byte) { b[17]++ })
		}, "2 names on record, there are 1"},
		"a directory's links": {func(tx *store.Tx, ino func(string) uint64) error {
			return edit(tx, store.Key{Object: ino("d"), Type: inodeItem}, func(b []byte) { b[17]++ })
		}, `"/d": 4 links on record, 1 directories in it`},
		"a directory's size": {func(tx *store.Tx, ino func(string) uint64) error {
			return edit(tx, store.Key{Object: ino("d"), Type: inodeItem}, func(b []byte) { b[33]++ })
		}, `"/d": 4 entries on record, 3 by name and 3 by index`},
		"a missing inode": {func(tx *store.Tx, ino func(string) uint64) error {
			return tx.Delete(store.Key{Object: ino("d/empty"), Type: inodeItem})
		}, `"/d": entry "empty" of inode`},
		"an entry only by name": {func(tx *store.Tx, ino func(string) uint64) error {
			return tx.Delete(store.Key{Object: ino("d"), Type: indexItem, Sub: 1})
		}, "3 by name and 2 by index"},
		"an entry only by index": {func(tx *store.Tx, ino func(string) uint64) error {
			return first(tx, ino("d"), entryItem, tx.Delete)
		}, "is not the same by name and by index"},
		"a parent": {func(tx *store.Tx, ino func(string) uint64) error {
			return edit(tx, store.Key{Object: ino("d/sub"), Type: inodeItem}, func(b []byte) { b[81] = 99 })
		}, "no directory at inode 99"},
		"bytes": {func(tx *store.Tx, ino func(string) uint64) error {
			return edit(tx, store.Key{Object: ino("d/f"), Type: inodeItem}, func(b []byte) { b[41]-- })
		}, "bytes of data on record"},
		"data behind the size": {func(tx *store.Tx, ino func(string) uint64) error {
			return edit(tx, store.Key{Object: ino("d/f"), Type: inodeItem}, func(b []byte) { b[31]-- })
		}, "bytes of data behind the size"},
		"a lost extent": {func(tx *store.Tx, ino func(string) uint64) error {
			return first(tx, ino("d/f"), store.TypeExtent, tx.Delete)
		}, "bytes of data on record"},
		"a lost attribute part": {func(tx *store.Tx, ino func(string) uint64) error {
			var last store.Key
			err := tx.Scan(store.Key{Object: ino("d/f"), Type: xattrItem}, store.Key{Object: ino("d/f"), Type: xattrItem + 1},
				func(k store.Key, _ []byte) (bool, error) {
					last = k
					return true, nil
				})
			if err != nil {
				return err
			}
			return tx.Delete(last)
		}, "an extended attribute lacks"},
		"the count of inodes": {func(tx *store.Tx, _ func(string) uint64) error {
			return edit(tx, store.Key{Type: superItem}, func(b []byte) { b[32]++ })
		}, "the superblock counts 6 inodes, there are 5"},
		"an orphan with a name": {func(tx *store.Tx, ino func(string) uint64) error {
			return tx.Put(store.Key{Type: orphanItem, Sub: ino("d/f")}, nil)
		}, "1 names and orphan: true"},
		"a mark of nobody": {func(tx *store.Tx, _ func(string) uint64) error {
			return tx.Put(store.Key{Type: orphanItem, Sub: 1000}, nil)
		}, "inode 1000: it has a mark of type 7 and is missing"},
		"an inode of nobody": {func(tx *store.Tx, ino func(string) uint64) error {
			b, _, err := tx.Get(store.Key{Object: ino("d/f"), Type: inodeItem})
			if err != nil {
				return err
			}
			b = append([]byte(nil), b...)
			return tx.Put(store.Key{Object: 500, Type: inodeItem}, b)
		}, "inode 500: the next new inode is to be"},
		"an unknown item": {func(tx *store.Tx, ino func(string) uint64) error {
			return tx.Put(store.Key{Object: ino("d/f"), Type: 100}, nil)
		}, "an item of unknown type 100"},
	} {
		t.Run(name, func(t *testing.T) {
			f, st := newFS(t)
			if err := f.MkdirAll("d/sub", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := f.WriteFile("d/f", make([]byte, 1<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := f.WriteFile("d/empty", nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := f.SetXattr("d/f", "user.x", make([]byte, 10_000), 0); err != nil {
				t.Fatal(err)
			}
			clean(t, f)
			inos := map[string]uint64{}
			for _, name := range []string{"d", "d/f", "d/sub", "d/empty"} {
				info, err := f.Lstat(name)
				if err != nil {
					t.Fatal(err)
				}
				inos[name] = uint64(info.Sys().(fs.Attr).Ino)
			}
			err := st.Update(bg, func(tx *store.Tx) error { return c.hurt(tx, func(name string) uint64 { return inos[name] }) })
			if err != nil {
				t.Fatal(err)
			}
			var steps int
			report, err := f.Tree().Check(bg, func(fs.CheckProgress) { steps++ })
			if err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for _, p := range report.Problems {
				all.WriteString(p.String() + "\n")
			}
			if !strings.Contains(all.String(), c.want) {
				t.Errorf("found:\n%swant: %s", all.String(), c.want)
			}
		})
	}
}

func edit(tx *store.Tx, k store.Key, change func([]byte)) error {
	b, _, err := tx.Get(k)
	if err != nil {
		return err
	}
	b = append([]byte(nil), b...)
	change(b)
	return tx.Put(k, b)
}

// first does something to the first item of a type.
func first(tx *store.Tx, object uint64, typ uint8, do func(store.Key) error) error {
	var at store.Key
	err := tx.Scan(store.Key{Object: object, Type: typ}, store.Key{Object: object, Type: typ + 1}, func(k store.Key, _ []byte) (bool, error) {
		at = k
		return false, nil
	})
	if err != nil {
		return err
	}
	return do(at)
}

package fs

import (
	"math"
	"strings"

	"github.com/coffer-fs/coffer/store"
)

// linkWindow is of how many inodes names are counted in one go.
const linkWindow = 1 << 18

// recountLinks finds the inodes whose count of links is wrong, which is known of
// some, in as many passes over all entries as bounded memory takes.
func (c *checking) recountLinks() error {
	for from := RootIno; from < c.super.nextIno; from += linkWindow {
		if err := c.recountWindow(from, min(from+linkWindow, c.super.nextIno)); err != nil {
			return err
		}
	}
	return nil
}

func (c *checking) recountWindow(from, to Ino) error {
	names := make([]uint32, to-from)
	err := c.tx.Scan(store.Key{Object: 1}, store.Key{Object: math.MaxUint64}, func(k store.Key, v []byte) (bool, error) {
		if k.Type != typeEntry {
			return true, nil
		}
		es, err := parseEntries(v)
		for _, e := range es {
			if e.ino >= from && e.ino < to {
				names[e.ino-from]++
			}
		}
		return true, err
	})
	if err != nil {
		return err
	}
	return c.tx.Scan(inodeKey(from), store.Key{Object: uint64(to)}, func(k store.Key, v []byte) (bool, error) {
		if k.Type != typeInode {
			return true, nil
		}
		n, err := parseInode(v)
		i := Ino(k.Object)
		if want := n.names(i); err == nil && names[i-from] != want {
			c.problem(i, "%d names on record, there are %d", want, names[i-from])
		}
		return true, err
	})
}

// names is how many names the inode should have.
func (n inode) names(i Ino) uint32 {
	switch {
	case !n.isDir():
		return n.links
	case i == RootIno || n.links == 0:
		return 0
	}
	return 1
}

// path is a directory's path, for telling where a problem is; empty if it can't
// be found out, as for other files, which do not know where they are.
func (c *checking) path(i Ino) string {
	var names []string
	for at := i; at != RootIno; {
		n, err := getDir(c.tx, at)
		if err != nil || len(names) > maxPathShown {
			return ""
		}
		name, err := c.nameIn(n.parent, at)
		if err != nil || name == "" {
			return ""
		}
		names = append([]string{name}, names...)
		at = n.parent
	}
	return "/" + strings.Join(names, "/")
}

// maxPathShown is the longest path that a problem shows, in names.
const maxPathShown = 256

func (c *checking) nameIn(dir, i Ino) (name string, err error) {
	err = c.tx.Scan(indexKey(dir, 0), typeEnd(uint64(dir), typeIndex), func(k store.Key, v []byte) (bool, error) {
		e, err := parseIndex(dir, k, v)
		if err == nil && e.ino == i {
			name = e.name
		}
		return name == "", err
	})
	return name, err
}

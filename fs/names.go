package fs

import (
	"context"
	"math"
	"path"

	"github.com/coffer-fs/coffer/store"
)

// Names returns the paths of files, all of each, in one pass over all names. With
// an error, which damage of the tree is, there are those that were found by then.
func (f *Tree) Names(ctx context.Context, inos ...Ino) (map[Ino][]string, error) {
	wanted := map[Ino]bool{}
	for _, i := range inos {
		wanted[i] = true
	}
	found := map[Ino][]string{}
	type name struct {
		dir Ino
		entry
	}
	var names []name
	err := f.st.View(ctx, func(tx *store.Tx) error {
		return tx.Scan(store.Key{Object: 1}, store.Key{Object: math.MaxUint64}, func(k store.Key, v []byte) (bool, error) {
			if k.Type != typeEntry {
				return true, ctx.Err()
			}
			es, err := parseEntries(v)
			for _, e := range es {
				if wanted[e.ino] {
					names = append(names, name{Ino(k.Object), e})
				}
			}
			return true, err
		})
	})
	if wanted[RootIno] {
		found[RootIno] = []string{"/"}
	}
	for _, n := range names {
		_ = f.st.View(ctx, func(tx *store.Tx) error { // a directory that can't be found has no path
			c := &checking{f: f, ctx: ctx, tx: tx}
			if dir := c.path(n.dir); dir != "" {
				found[n.ino] = append(found[n.ino], path.Join(dir, n.name))
			}
			return nil
		})
	}
	return found, wrap(err)
}

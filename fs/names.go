package fs

import (
	"context"
	"maps"
	"math"
	"path"
	"slices"

	"github.com/coffer-fs/coffer/store"
)

// Names returns the paths of files, all of each, in one pass over all names. With
// an error, which damage of the tree is, there are those that were found by then.
func (f *Tree) Names(ctx context.Context, inos ...Ino) (map[Ino][]string, error) {
	wanted := map[Ino]bool{}
	for _, i := range inos {
		wanted[i] = true
	}
	return f.names(ctx, f.st.View, func(i Ino) bool { return wanted[i] })
}

// names returns the paths of the files that are wanted, in the state that view views.
func (f *Tree) names(ctx context.Context, view viewer, wanted func(Ino) bool) (map[Ino][]string, error) {
	found := map[Ino][]string{}
	type name struct {
		dir Ino
		entry
	}
	var names []name
	err := view(ctx, func(tx *store.Tx) error {
		return tx.Scan(store.Key{Object: 1}, store.Key{Object: math.MaxUint64}, func(k store.Key, v []byte) (bool, error) {
			if k.Type != typeEntry {
				return true, ctx.Err()
			}
			es, err := parseEntries(v)
			for _, e := range es {
				if wanted(e.ino) {
					names = append(names, name{Ino(k.Object), e})
				}
			}
			return true, err
		})
	})
	if wanted(RootIno) {
		found[RootIno] = []string{"/"}
	}
	for _, n := range names {
		_ = view(ctx, func(tx *store.Tx) error { // a directory that can't be found has no path
			c := &checking{f: f, ctx: ctx, tx: tx}
			if dir := c.path(n.dir); dir != "" {
				found[n.ino] = append(found[n.ino], path.Join(dir, n.name))
			}
			return nil
		})
	}
	return found, wrap(err)
}

// viewer calls a function with a constant state.
type viewer func(context.Context, func(*store.Tx) error) error

// Hit is a file that damage hits, or may hit.
type Hit struct {
	Ino      Ino
	Names    []string // all that are found; empty if none is
	Snapshot string   // as which snapshot has it; empty is the present state
}

// Hits are files that damage hits.
type Hits struct {
	Files []Hit
	More  int // that are not in Files
}

// Hits tells which files damage hits, at most so many of them. A damaged tree node may
// have been about many files: those of them are told that have a name elsewhere, and
// the first. What is damaged of one state is needed by older ones too: as a snapshot
// has it a file is told if a newer state does not have it under that name.
func (f *Tree) Hits(ctx context.Context, damage []store.Damage, most int) Hits {
	h := &hitting{f: f, ctx: ctx, most: most, told: map[Ino]map[string]bool{}, more: map[Ino]bool{}}
	own := map[store.SnapshotID][]inoRange{}
	for _, d := range damage {
		parts, _ := f.st.HitParts(ctx, d) // without the parents of a node, its first item
		for _, p := range parts {
			id := store.SnapshotID(0)
			if p.Snapshot != nil {
				id = p.Snapshot.ID
			}
			if p.Last > 0 { // else it is the superblock
				own[id] = append(own[id], inoRange{max(1, Ino(p.First)), Ino(p.Last)})
			}
		}
	}
	h.state(store.Snapshot{}, own[0])
	for _, p := range slices.Backward(f.st.Snapshots()) {
		h.state(p, own[p.ID])
	}
	return Hits{h.files, len(h.more)}
}

// inoRange is some files, by number, both ends included.
type inoRange struct{ first, last Ino }

// hitting is one run of Hits, from the newest state to the oldest.
type hitting struct {
	f      *Tree
	ctx    context.Context
	most   int
	ranges []inoRange // that are hit, up to this state
	files  []Hit
	told   map[Ino]map[string]bool
	more   map[Ino]bool
	found  int // names that were taken down
}

// state finds what is hit of one state, the present one if p is none.
func (h *hitting) state(p store.Snapshot, own []inoRange) {
	h.ranges = append(h.ranges, own...)
	if len(h.ranges) == 0 {
		return
	}
	view := h.f.st.View
	if p.ID != 0 {
		view = func(ctx context.Context, fn func(*store.Tx) error) error { return h.f.st.ViewSnapshot(ctx, p.ID, fn) }
	}
	names, _ := h.f.names(h.ctx, view, h.wanted) // what can't be named is told by inode
	for _, r := range own {
		if names[r.first] == nil {
			names[r.first] = []string{}
		}
	}
	for _, i := range slices.Sorted(maps.Keys(names)) {
		fresh := slices.DeleteFunc(names[i], func(n string) bool { return h.told[i][n] })
		if len(fresh) > 0 || h.told[i] == nil {
			h.tell(Hit{i, fresh, p.Name})
		}
	}
}

func (h *hitting) tell(hit Hit) {
	if len(h.files) >= h.most {
		h.more[hit.Ino] = true
		return
	}
	h.files = append(h.files, hit)
	if h.told[hit.Ino] == nil {
		h.told[hit.Ino] = map[string]bool{}
	}
	for _, n := range hit.Names {
		h.told[hit.Ino][n] = true
	}
}

// maxNamed bounds how many names are taken down, and how many files counted.
const maxNamed = 1 << 16

func (h *hitting) wanted(i Ino) bool {
	if !slices.ContainsFunc(h.ranges, func(r inoRange) bool { return r.first <= i && i <= r.last }) {
		return false
	}
	if h.found++; h.found > maxNamed || len(h.files) >= h.most && h.told[i] == nil { // it is counted and need not be named
		if len(h.more) < maxNamed {
			h.more[i] = true
		}
		return false
	}
	return true
}

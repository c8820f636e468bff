package fs_test

import (
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/fs"
)

// keptState is what a snapshot must hold.
type keptState struct {
	name  string
	m     *model
	doubt bool // the machine died while it was taken or deleted
}

// keep takes or deletes a snapshot. It reports whether all before it is durable now.
func (g *game) keep(p *player) (synced bool, err error) {
	if n := len(g.kept); n > 5 || n > 0 && g.r.IntN(3) == 0 {
		return false, g.unkeep(p, g.r.IntN(n)) // what is buffered stays so
	}
	k := &keptState{fmt.Sprintf("snapshot %d", g.taken), p.m.clone(), true}
	g.taken++
	g.kept = append(g.kept, k)
	p.what = "take " + k.name
	_, err = p.f.TakeSnapshot(k.name)
	done, err := p.same(err, 0)
	if !done && err == nil { // no room
		g.kept = g.kept[:len(g.kept)-1]
	}
	k.doubt = err != nil
	return done, err
}

func (g *game) unkeep(p *player, i int) error {
	k := g.kept[i]
	k.doubt = true
	p.what = "delete " + k.name
	err := p.f.DeleteSnapshot(k.name)
	if err == nil {
		g.kept = slices.Delete(g.kept, i, i+1)
	}
	return err
}

// verifyKept compares every snapshot with what it must hold.
func (g *game) verifyKept(f *fs.FS) error {
	list := f.Snapshots()
	g.kept = slices.DeleteFunc(g.kept, func(k *keptState) bool {
		return k.doubt && !slices.ContainsFunc(list, func(s fs.Snapshot) bool { return s.Name == k.name })
	})
	if len(list) != len(g.kept) {
		return fmt.Errorf("%d snapshots, want %d", len(list), len(g.kept))
	}
	for i, k := range g.kept {
		k.doubt = false
		if list[i].Name != k.name {
			return fmt.Errorf("snapshot %d is %q, want %q", i, list[i].Name, k.name)
		}
		if err := k.verify(f); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	return nil
}

func (k *keptState) verify(live *fs.FS) error {
	f, err := live.OpenSnapshot(k.name)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := dumpTree(f)
	if err != nil {
		return err
	}
	if diff := differ(k.m.dump(), got, false); diff != "" {
		return fmt.Errorf("not what was there when it was taken: %s", diff)
	}
	report, err := f.Tree().Check(bg, nil)
	if err == nil && len(report.Problems) > 0 {
		err = fmt.Errorf("check: %+v", report)
	}
	return err
}

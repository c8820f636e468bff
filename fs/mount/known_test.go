package mount_test

import (
	"math/rand/v2"
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/mount"
)

// TestKnown counts beside a map, inodes that are near and far from each other, up and
// down over what fits into a byte.
func TestKnown(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	k, model := mount.NewKnown(), map[fs.Ino]uint64{}
	inodes := []fs.Ino{1, 2, 63, 64, 65, 1 << 40, 1<<40 + 1, 1<<48 - 1}
	remove := func(i fs.Ino, n uint64) {
		t.Helper()
		if gone := model[i] <= n; k.Remove(i, n) != gone {
			t.Fatalf("seed %d: inode %d, known %d times, is forgotten %d times: gone %v", seed, i, model[i], n, !gone)
		}
		model[i] -= min(n, model[i])
	}
	for range 20_000 {
		i := inodes[rnd.IntN(len(inodes))]
		if rnd.IntN(200) > 0 {
			k.Add(i)
			model[i]++
		} else {
			remove(i, rnd.Uint64N(model[i]+2))
		}
		if k.Has(i) != (model[i] > 0) {
			t.Fatalf("seed %d: inode %d, %d times: known %v", seed, i, model[i], k.Has(i))
		}
	}
	for _, i := range inodes {
		if model[i] > 0 {
			remove(i, model[i]-1) // just not
		}
		remove(i, model[i])
	}
	if !k.Empty() {
		t.Errorf("seed %d: something is left", seed)
	}
}

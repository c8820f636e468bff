package coffer_test

import (
	"testing"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store"
)

// rotated is a KDS with so many generations of its master key.
func rotated(t *testing.T, generations kds.Generation) *kdstest.KDS {
	return kdstest.New(t, kdstest.Options{Masters: []master.Provider{kdstest.Master{KeyType: kds.Development, Generations: generations}}})
}

// generations are those of the slots of a volume.
func generations(t *testing.T, o coffer.Options) (all []kds.Generation) {
	t.Helper()
	_, h, err := store.ReadHeader(ctx, o.Volume)
	must(t, err)
	for _, s := range h.Slots {
		spec, _, err := coffer.ParseSlot(store.Slot{Kind: s.Kind, Descriptor: s.Descriptor})
		must(t, err)
		all = append(all, spec.Generation)
	}
	return all
}

// A volume stays with the generation of the master key that it was made with,
// until it is migrated to the same spec; and opens while that is half done.
func TestVolumeStaysWithItsGeneration(t *testing.T) {
	c := specConfig(t, "development", "SEC:INSECURE")
	o := made(t, options(t, c, rotated(t, 1).URL))
	o.KDSURL = rotated(t, 2).URL
	readable(t, o)
	if g := generations(t, o); len(g) != 1 || g[0] != 1 {
		t.Errorf("slots of generations %v", g)
	}
	secret, err := coffer.NewSecret(ctx, o)
	must(t, err)
	s, err := store.Open(ctx, o.Volume, store.Options{Unlocker: coffer.Unlocker(o)})
	must(t, err)
	must(t, s.AddGeneration(ctx, secret))
	must(t, s.Close())
	if g := generations(t, o); len(g) != 2 {
		t.Errorf("half done: slots of generations %v", g)
	}
	readable(t, o)
	_, err = migrate.Run(ctx, migrate.Options{Host: o.Volume, Old: coffer.Unlocker(o), New: secret})
	must(t, err)
	if g := generations(t, o); len(g) != 1 || g[0] != 2 {
		t.Errorf("migrated: slots of generations %v", g)
	}
	readable(t, o)
	o.KDSURL = rotated(t, 1).URL // which has never heard of generation 2
	refused(t, o, kds.ErrRefused, "no such master key generation")
}

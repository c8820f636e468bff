package store_test

import (
	"testing"

	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/seal"
)

// How far a scrub has come says which objects there are: it is nothing that the old key
// may open once a volume has another.
func TestRekeyTakesTheScrubAlong(t *testing.T) {
	v, _ := aged(t, newRand(t), 16<<20, 20)
	s := mustOpen(t, v, oldSecret)
	defer s.Close()
	if _, err := s.Scrub(bg, store.ScrubOptions{BytesPerSecond: -1}); err != nil {
		t.Fatal(err)
	}
	old := seal.Keyring{}
	for g, vk := range s.VolumeKeys() {
		kept, err := key.FromBytes(vk.Bytes()) // the volume destroys its own
		if err != nil {
			t.Fatal(err)
		}
		old[g] = kept
	}
	if _, err := seal.OpenScrub(old, s.ID(), v.Record("scrub")); err != nil {
		t.Fatalf("a test of nothing: %v", err)
	}
	if err := rekey(s); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.OpenScrub(old, s.ID(), v.Record("scrub")); err == nil {
		t.Error("the old key opens what the scrub has kept")
	}
}

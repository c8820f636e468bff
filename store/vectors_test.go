package store_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/coffer-fs/coffer/store"
)

// The vectors of testdata/vectors/records.json were made by gen_records.go beside
// them, which knows the tables of docs/format.md and none of this code.
func TestRecordVectors(t *testing.T) {
	var all []struct {
		Name, Hunts, Kind, Want, Bytes string
		Layer                          uint64
	}
	b, err := os.ReadFile("../testdata/vectors/records.json")
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil || len(all) < 40 {
		t.Fatalf("%d vectors: %v", len(all), err)
	}
	for _, v := range all {
		b, err := hex.DecodeString(v.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		var again []byte
		switch v.Kind {
		case "snapshot":
			again, err = store.ReencodeSnapshot(v.Layer, b)
		case "scrub":
			again, err = store.ReencodeScrub(b)
		case "root":
			again, err = store.ReencodeRoot(b)
		default:
			t.Fatalf("%s: unknown", v.Name)
		}
		switch {
		case v.Want == "ok" && (err != nil || !bytes.Equal(again, b)):
			t.Errorf("%s: %v, encodes to %x", v.Name, err, again)
		case v.Want == "damaged" && !errors.Is(err, store.ErrDamaged):
			t.Errorf("%s: %v; it hunts %s", v.Name, err, v.Hunts)
		}
	}
	t.Logf("%d vectors", len(all))
}

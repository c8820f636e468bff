package kds_test

import (
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/key"
)

// The vectors of anchor.json were made by testdata/vectors/gen_anchor.go, which
// knows docs/protocol.md and none of this code.
type anchorVectors struct {
	Volume, Master, AnchorKey, ToAnchorKey string
	PolicyConstraint, ToPolicyConstraint   policy.Constraint
	Messages                               []struct{ Name, Hunts, Want, Request, Answer string }
	Records                                []struct{ Name, Hunts, Want, Bytes string }
}

func TestAnchorMessageVectors(t *testing.T) {
	var v anchorVectors
	vectors(t, "anchor.json", &v)
	master, err := key.FromBytes(unhex(t, v.Master))
	if err != nil {
		t.Fatal(err)
	}
	anchorKey := func(c policy.Constraint, want string) key.Key {
		spec := kds.Spec{Name: "EnclavePersistence", MasterKeyType: "development", PolicyConstraint: c}
		k := kds.Derive(master, 1, spec, kds.Anchor)
		if got := hex.EncodeToString(k.Bytes()); got != want {
			t.Errorf("anchor key %s, want %s", got, want)
		}
		return k
	}
	ours, theirs := anchorKey(v.PolicyConstraint, v.AnchorKey), anchorKey(v.ToPolicyConstraint, v.ToAnchorKey)
	if len(v.Messages) < 16 {
		t.Fatalf("%d messages", len(v.Messages))
	}
	for _, m := range v.Messages {
		r, err := kds.DecodeAnchorRequest([]byte(m.Request))
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		holds := r.SignedBy(ours, r.MAC) && (r.To == nil || r.SignedBy(theirs, r.To.MAC))
		if m.Answer != "" {
			var a kds.AnchorAnswer
			if err := json.Unmarshal([]byte(m.Answer), &a); err != nil {
				t.Fatal(err)
			}
			holds = holds && string(a.Sign(ours, r)) == string(a.MAC)
		}
		if holds != (m.Want == "ok") {
			t.Errorf("%s: the MACs hold: %v, want %s; it hunts %s", m.Name, holds, m.Want, m.Hunts)
		}
	}
}

func TestAnchorRecordVectors(t *testing.T) {
	var v anchorVectors
	vectors(t, "anchor.json", &v)
	if len(v.Records) < 9 {
		t.Fatalf("%d records", len(v.Records))
	}
	volume := kds.VolumeID(unhex(t, v.Volume))
	for _, r := range v.Records {
		b := unhex(t, r.Bytes)
		got, err := anchor.ParseRecord(volume, b)
		switch {
		case r.Want == "ok" && (err != nil || string(got.Encode(volume)) != string(b)):
			t.Errorf("%s: %v", r.Name, err)
		case r.Want != "ok" && err == nil:
			t.Errorf("%s is taken; it hunts %s", r.Name, r.Hunts)
		}
	}
}

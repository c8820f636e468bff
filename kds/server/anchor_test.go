package server_test

import (
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/server"
)

func state(n uint64) kds.AnchorState {
	return kds.AnchorState{Epoch: n, Opening: [16]byte{9}, Root: 1, Sequence: n, Hash: [32]byte{byte(n)}}
}

func anchors(t *testing.T, k *kdstest.KDS, policy string) *kds.AnchorClient {
	t.Helper()
	c := kds.NewAnchorClient(k.Client(t, kdstest.Sim(t, kdstest.AppBuild), ""), kdstest.Spec(t, policy))
	t.Cleanup(c.Close)
	return c
}

// K24: who has the key of a spec uses up that spec's share of requests and records,
// and nobody else's.
func TestK24_AnchorFlood(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{Change: func(o *server.Options) { o.AnchorRate = 1 }})
	one, other := anchors(t, k, kdstest.AppPolicy), anchors(t, k, "C:"+string(kdstest.AppBuild.CodeHash)+" SEC:INSECURE")
	var last error
	for range 20 { // far more than one a second
		_, last = one.Read(ctx, kds.VolumeID{1})
	}
	refusedWith(t, last, 429, "more than 1 requests a second for anchors of spec")
	if err := other.Advance(ctx, kds.VolumeID{2}, kds.AnchorState{}, state(1)); err != nil {
		t.Errorf("another spec: %v", err)
	}

	k = kdstest.New(t, kdstest.Options{})
	one, other = anchors(t, k, kdstest.AppPolicy), anchors(t, k, "C:"+string(kdstest.AppBuild.CodeHash)+" SEC:INSECURE")
	for n := range anchor.MaxPerOwner {
		if err := one.Advance(ctx, kds.VolumeID{1, byte(n >> 8), byte(n)}, kds.AnchorState{}, state(1)); err != nil {
			t.Fatalf("record %d: %v", n, err)
		}
	}
	refusedWith(t, one.Advance(ctx, kds.VolumeID{2}, kds.AnchorState{}, state(1)), 429, anchor.ErrFull.Error())
	if err := other.Advance(ctx, kds.VolumeID{2}, kds.AnchorState{}, state(1)); err != nil {
		t.Errorf("another spec: %v", err)
	}
	e := k.Entries(t)
	refused := e[len(e)-3]
	if refused.Event != audit.Refused || refused.Volume[:2] != "02" || !strings.Contains(refused.Reason, "anchor begins: ") || refused.Key.Purpose != "anchor" {
		t.Errorf("%+v", refused)
	}
}

// That an anchor begins or changes hands is written down before it does.
func TestAnchorsAreWrittenDown(t *testing.T) {
	b := &switched{}
	k := kdstest.New(t, kdstest.Options{Audit: b})
	one, other := anchors(t, k, kdstest.AppPolicy), anchors(t, k, "C:"+string(kdstest.AppBuild.CodeHash)+" SEC:INSECURE")
	v := kds.VolumeID{7}
	if _, err := one.Read(ctx, v); err == nil {
		t.Fatal("a record before there is one")
	}
	b.err = audit.ErrBroken
	refusedWith(t, one.Advance(ctx, v, kds.AnchorState{}, state(1)), 503, "")
	b.err = nil
	if _, err := one.Read(ctx, v); err == nil {
		t.Error("an anchor began without audit")
	}
	for n := range uint64(3) { // only the first is written down
		old := kds.AnchorState{}
		if n > 0 {
			old = state(n)
		}
		if err := one.Advance(ctx, v, old, state(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.MoveTo(ctx, other, v); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range b.all {
		if e.Event == audit.Anchored {
			got = append(got, e.Volume[:2]+" "+e.Reason[:5])
		}
	}
	if s := strings.Join(got, ", "); s != "07 begin, 07 given" {
		t.Error(s)
	}
}

// switched is an audit log in memory that can fail.
type switched struct {
	all []audit.Entry
	err error
}

func (s *switched) Append(e audit.Entry) error {
	if s.err == nil {
		s.all = append(s.all, e)
	}
	return s.err
}

func (s *switched) Err() error { return s.err }

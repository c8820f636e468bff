package kdstest_test

import (
	"bytes"
	"errors"
	"net/http"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/server"
)

var volume = kds.VolumeID{1, 2, 3}

// at is the n-th state of one opening.
func at(n uint64) kds.AnchorState {
	return kds.AnchorState{Epoch: 1, Opening: [16]byte{9}, Root: 1, Sequence: n, Hash: [32]byte{byte(n)}}
}

func anchors(t *testing.T, k *kdstest.KDS, url string) *kds.AnchorClient {
	t.Helper()
	c := kds.NewAnchorClient(k.Client(t, kdstest.Sim(t, kdstest.AppBuild), url), kdstest.Spec(t, kdstest.AppPolicy))
	t.Cleanup(c.Close)
	return c
}

func wantState(t *testing.T, a *kds.AnchorClient, want kds.AnchorState) {
	t.Helper()
	if got, err := a.Read(ctx, volume); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func advance(t *testing.T, a *kds.AnchorClient, old, next kds.AnchorState) {
	t.Helper()
	if err := a.Advance(ctx, volume, old, next); err != nil {
		t.Fatal(err)
	}
}

func TestAnchorClient(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	a, b := anchors(t, k, ""), anchors(t, k, "")
	if _, err := a.Read(ctx, volume); !errors.Is(err, kds.ErrAnchorNone) {
		t.Error(err)
	}
	if err := a.Advance(ctx, volume, at(1), at(2)); !errors.Is(err, kds.ErrAnchorConflict) {
		t.Error(err)
	}
	advance(t, a, kds.AnchorState{}, at(1))
	if err := b.Advance(ctx, volume, kds.AnchorState{}, at(2)); !errors.Is(err, kds.ErrAnchorConflict) {
		t.Error(err)
	}
	advance(t, a, at(1), at(2))
	advance(t, b, at(2), at(3)) // another instance of the same enclave
	if err := a.Advance(ctx, volume, at(2), at(4)); !errors.Is(err, kds.ErrAnchorConflict) {
		t.Error(err)
	}
	wantState(t, a, at(3))
	advance(t, a, at(3), at(4))
	if n := len(k.Entries(t)); n != 4 { // started, one key for each of the two, and the anchor
		t.Errorf("%d lines of audit: the key is got once", n)
	}
}

func TestAnchorsNotKept(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{Change: func(o *server.Options) { o.Anchors = nil }})
	_, err := anchors(t, k, "").Read(ctx, volume)
	var r *kds.RefusedError
	if !errors.As(err, &r) || r.Status != http.StatusNotFound {
		t.Error(err)
	}
}

// K20: the relay answers with what was true once, or sends an old request again.
func TestK20_AnchorReplay(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	relay := k.NewRelay(t)
	a, honest := anchors(t, k, relay.URL), anchors(t, k, "")
	advance(t, a, kds.AnchorState{}, at(1))
	wantState(t, a, at(1))
	old := relay.Answers[len(relay.Answers)-1]
	advance(t, honest, at(1), at(2))
	relay.Answer = func([]byte) []byte { return old }
	if s, err := a.Read(ctx, volume); !errors.Is(err, kds.ErrDamaged) {
		t.Errorf("an old answer: %+v, %v", s, err)
	}
	relay.Answer = nil
	for i, request := range relay.Requests {
		k.Post(t, "/anchor", request)
		if got, err := honest.Read(ctx, volume); err != nil || got != at(2) {
			t.Errorf("after request %d again: %+v, %v", i, got, err)
		}
	}
	wantState(t, a, at(2))
	// an answer that is lost leaves it open whether the request was done
	relay.Answer = func([]byte) []byte { return []byte("{}") }
	if err := a.Advance(ctx, volume, at(2), at(3)); err == nil || errors.Is(err, kds.ErrAnchorConflict) {
		t.Errorf("without an answer: %v", err)
	}
	relay.Answer = nil
	wantState(t, a, at(3))
}

// K21: the relay changes any byte of request or answer, or makes them up.
func TestK21_AnchorForgery(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	relay := k.NewRelay(t)
	a := anchors(t, k, relay.URL)
	advance(t, a, kds.AnchorState{}, at(5))
	for name, change := range map[string]func(*kds.AnchorAnswer){
		"status":  func(x *kds.AnchorAnswer) { x.Status = kds.AnchorNone },
		"state":   func(x *kds.AnchorAnswer) { x.State = at(4).Append(nil) },
		"version": func(x *kds.AnchorAnswer) { x.Version++ },
		"MAC":     func(x *kds.AnchorAnswer) { x.MAC[0] ^= 1 },
		"no MAC":  func(x *kds.AnchorAnswer) { x.MAC = nil },
	} {
		relay.Answer = kdstest.Edit(t, change)
		if s, err := a.Read(ctx, volume); !errors.Is(err, kds.ErrDamaged) {
			t.Errorf("answer, %s: %+v, %v", name, s, err)
		}
	}
	relay.Answer = nil
	for name, change := range map[string]func(*kds.AnchorRequest){
		"volume":     func(x *kds.AnchorRequest) { x.Volume[0] ^= 1 },
		"op":         func(x *kds.AnchorRequest) { x.Op, x.State = kds.AnchorRead, nil },
		"version":    func(x *kds.AnchorRequest) { x.Version++ },
		"state":      func(x *kds.AnchorRequest) { x.State = at(9).Append(nil) },
		"nonce":      func(x *kds.AnchorRequest) { x.Nonce[0] ^= 1 },
		"MAC":        func(x *kds.AnchorRequest) { x.MAC[0] ^= 1 },
		"spec":       func(x *kds.AnchorRequest) { x.Spec.Name = "Another" },
		"generation": func(x *kds.AnchorRequest) { x.Generation++ },
	} {
		relay.Request = kdstest.Edit(t, change)
		if err := a.Advance(ctx, volume, at(5), at(6)); !errors.Is(err, kds.ErrRefused) {
			t.Errorf("request, %s: %v", name, err)
		}
	}
	relay.Request = nil
	wantState(t, a, at(5))
	for _, body := range []string{"", "{}", `{"op":"read"}`, "[" + string(bytes.Repeat([]byte("["), 100))} {
		if status, answer := k.Post(t, "/anchor", []byte(body)); status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", body, status, answer)
		}
	}
}

// K22: an enclave of another spec asks for a volume that is not its own, and the
// old enclave for one that was moved.
func TestK22_AnchorOfOthers(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	a := anchors(t, k, "")
	advance(t, a, kds.AnchorState{}, at(1))
	other := kds.NewAnchorClient(k.Client(t, kdstest.Sim(t, kdstest.AppBuild), ""), kdstest.Spec(t, kdstest.AppPolicy+" REVOKE:0"))
	defer other.Close()
	if s, err := other.Read(ctx, volume); !errors.Is(err, kds.ErrAnchorOther) {
		t.Errorf("read: %+v, %v", s, err)
	}
	if err := other.Advance(ctx, volume, kds.AnchorState{}, at(2)); !errors.Is(err, kds.ErrAnchorOther) {
		t.Errorf("advance: %v", err)
	}
	if err := other.MoveTo(ctx, a, volume); err != nil { // a has it: nothing to do
		t.Errorf("move: %v", err)
	}
	wantState(t, a, at(1))

	for range 2 { // the second time it is there already
		if err := a.MoveTo(ctx, other, volume); err != nil {
			t.Fatal(err)
		}
	}
	wantState(t, other, at(1))
	if _, err := a.Read(ctx, volume); !errors.Is(err, kds.ErrAnchorOther) {
		t.Errorf("read by the old spec: %v", err)
	}
	if err := a.Advance(ctx, volume, at(1), at(2)); !errors.Is(err, kds.ErrAnchorOther) {
		t.Errorf("advance by the old spec: %v", err)
	}
	advance(t, other, at(1), at(2))
}

// K23: nobody, not even who has the key, takes a record back to what it was.
func TestK23_AnchorGoesForward(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	a := anchors(t, k, "")
	advance(t, a, kds.AnchorState{}, at(1))
	advance(t, a, at(1), at(5))
	fork := at(6)
	fork.Opening[0]++
	for _, next := range []kds.AnchorState{at(1), at(4), fork, {}} {
		if err := a.Advance(ctx, volume, at(5), next); !errors.Is(err, kds.ErrAnchorConflict) {
			t.Errorf("%+v: %v", next, err)
		}
	}
	wantState(t, a, at(5))
	fork.Epoch, fork.Sequence = 2, 1 // another opening, after a restore
	advance(t, a, at(5), fork)
	wantState(t, a, fork)
}

// BenchmarkAnchorAdvance is what policy fsync adds to an fsync: a round trip on
// the loopback, and the node's record made durable.
func BenchmarkAnchorAdvance(b *testing.B) {
	k := kdstest.New(b, kdstest.Options{})
	a := kds.NewAnchorClient(k.Client(b, kdstest.Sim(b, kdstest.AppBuild), ""), kdstest.Spec(b, kdstest.AppPolicy))
	defer a.Close()
	old := kds.AnchorState{}
	for n := uint64(1); b.Loop(); n++ {
		next := at(n)
		if err := a.Advance(ctx, volume, old, next); err != nil {
			b.Fatal(err)
		}
		old = next
	}
}

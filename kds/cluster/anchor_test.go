package cluster_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
	"github.com/coffer-fs/coffer/kds/anchor/anchortest"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/cluster"
	"github.com/coffer-fs/coffer/kds/cluster/kv"
	"github.com/coffer-fs/coffer/kds/cluster/ledger"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/orders"
)

// The one suite, on a node that is alone, and started again.
func TestAnchors(t *testing.T) {
	anchortest.Run(t, func(t *testing.T) anchortest.Open {
		w := newWorld(t, "")
		p := release(t, build)
		n := w.start(t, p, "", nil)
		w.birth(n)
		n.enrolled(1)
		opened := false
		return func(t *testing.T) anchor.Store {
			if opened {
				addr := n.o.Address
				n.stop()
				n = w.startAt(t, p, n.o.Dir, addr)
			}
			opened = true
			return n.Anchors()
		}
	})
}

// What one node was told, every node says, and they change it in turns.
func TestAnchorsOfTwoNodes(t *testing.T) {
	w := newWorld(t, "")
	a := w.start(t, release(t, build), "", nil)
	w.birth(a)
	b := w.start(t, release(t, build), "", nil)
	b.enrolled(2)
	v, now := anchortest.Volume(1), anchor.Record{}
	for i := range uint64(20) {
		n, other := a, b
		if i%2 == 1 {
			n, other = b, a
		}
		next := anchortest.Record(1, i+1)
		must(t, n.Anchors().Swap(ctx, v, now, next))
		if r, err := other.Anchors().Get(ctx, v); err != nil || r != next {
			t.Fatalf("%+v, %v; want %+v", r, err, next)
		}
		if err := other.Anchors().Swap(ctx, v, now, next); !errors.Is(err, anchor.ErrConflict) {
			t.Fatalf("from an old record: %v", err)
		}
		now = next
	}
}

// enrolled waits until so many nodes remember.
func (n *node) enrolled(members int) {
	n.t.Helper()
	for range 1000 {
		if r, err := n.Ledger().Peek(ctx); err == nil && len(r.Members) == members {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.t.Fatalf("there are not %d members", members)
}

// shelf is a store whose host can put back what was once.
type shelf struct {
	mu sync.Mutex
	kv.Store
	then   map[string]kv.Value
	frozen bool
}

func (s *shelf) Get(ctx context.Context, names ...string) ([]kv.Value, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	values, err := s.Store.Get(ctx, names...)
	for i, n := range names {
		if s.frozen && strings.HasPrefix(n, "ledger/") {
			values[i] = s.then[n]
		}
	}
	return values, err
}

// remember keeps the ledger as it is; freeze shows it from then on.
func (s *shelf) remember(t *testing.T) {
	t.Helper()
	l, err := s.List(ctx, "ledger/")
	must(t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.then = map[string]kv.Value{}
	for _, v := range l {
		s.then[v.Name] = v.Value
	}
}

func (s *shelf) freeze(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = on
}

// K37: the store is set back to before the last advance, by a host that also
// killed the node which made it: another node refuses what is older.
func TestK37_StoreSetBackUnderAnchors(t *testing.T) {
	w := newWorld(t, "")
	s := &shelf{Store: w.store}
	w.store = s
	pa := release(t, build)
	a := w.start(t, pa, "", nil)
	w.birth(a)
	b := w.start(t, release(t, build), "", nil)
	c := w.start(t, release(t, build), "", nil)
	c.enrolled(3)
	v := anchortest.Volume(1)
	one, two := anchortest.Record(1, 1), anchortest.Record(1, 2)
	must(t, a.Anchors().Swap(ctx, v, anchor.Record{}, one))
	s.remember(t)
	must(t, a.Anchors().Swap(ctx, v, one, two))
	a.stop()
	s.freeze(true)
	for _, n := range []*node{b, c} {
		if r, err := n.Anchors().Get(ctx, v); !errors.Is(err, ledger.ErrOlder) {
			t.Errorf("an older anchor: %+v, %v", r, err)
		}
		if err := n.Anchors().Swap(ctx, v, one, anchortest.Record(1, 3)); err == nil {
			t.Error("an older anchor was advanced")
		}
	}
	// one bucket that is older under the newest root
	s.freeze(false)
	if r, err := b.Anchors().Get(ctx, v); err != nil || r != two {
		t.Errorf("set right: %+v, %v", r, err)
	}
	s.mu.Lock()
	fresh, err := s.Store.Get(ctx, "ledger/root")
	s.then["ledger/root"] = fresh[0]
	s.frozen = true
	s.mu.Unlock()
	must(t, err)
	if r, err := b.Anchors().Get(ctx, v); !errors.Is(err, ledger.ErrOlder) {
		t.Errorf("an older bucket: %+v, %v", r, err)
	}
	s.freeze(false)
	// what is not there any more
	s.mu.Lock()
	s.then, s.frozen = map[string]kv.Value{}, true
	s.mu.Unlock()
	if r, err := b.Anchors().Get(ctx, v); !errors.Is(err, ledger.ErrOlder) {
		t.Errorf("no ledger at all: %+v, %v", r, err)
	}
	// also a node that was started anew remembers
	b.stop()
	again := w.start(t, b.o.Platform, b.o.Dir, nil)
	if r, err := again.Anchors().Get(ctx, v); !errors.Is(err, ledger.ErrOlder) {
		t.Errorf("after a restart: %+v, %v", r, err)
	}
	s.freeze(false)
	must(t, os.Truncate(filepath.Join(again.o.Dir, cluster.SeenFile), 40))
	again.stop()
	damaged := w.start(t, b.o.Platform, b.o.Dir, nil)
	if _, err := damaged.Anchors().Get(ctx, v); !errors.Is(err, cluster.ErrSealed) {
		t.Errorf("a damaged memory: %v", err)
	}
}

// K37: a node that was away while its generation ended remembers the newest root
// under the one that took its place, also after another restart: a store that is
// empty now is found out. A memory that is damaged stays that.
func TestK37_MemoryOutlivesItsGeneration(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		w := newWorld(t, "")
		s := &shelf{Store: w.store}
		w.store = s
		a := w.start(t, release(t, build), "", nil)
		first := w.birth(a)
		pb := release(t, build)
		b := w.start(t, pb, "", nil)
		w.start(t, release(t, build), "", nil).enrolled(3)
		v := anchortest.Volume(1)
		must(t, b.Anchors().Swap(ctx, v, anchor.Record{}, anchortest.Record(1, 1)))
		b.stop()
		_, _, err := w.person(a).Make(ctx, 2, w.operator)
		must(t, err)
		a.until("in generation 2", func(s cluster.Status) bool { return s.Current == 2 })
		must(t, w.person(a).Retire(ctx, first.Hash(), w.operator))
		s.mu.Lock()
		s.then, s.frozen = map[string]kv.Value{}, true
		s.mu.Unlock()
		back := func(want error) {
			t.Helper()
			b = w.startAt(t, pb, b.o.Dir, b.o.Address)
			b.until("without generation 1", func(s cluster.Status) bool { return s.Current == 2 && s.Generations[0].Retired })
			if r, err := b.Anchors().Get(ctx, v); !errors.Is(err, want) {
				t.Errorf("damaged %v: no ledger at all: %+v, %v", damaged, r, err)
			}
			b.stop()
		}
		if damaged {
			path := filepath.Join(b.o.Dir, cluster.SeenFile)
			text, err := os.ReadFile(path)
			must(t, err)
			text[len(text)-1] ^= 1
			must(t, os.WriteFile(path, text, 0o600))
			back(cluster.ErrSealed)
			continue
		}
		back(ledger.ErrOlder)
		back(ledger.ErrOlder)
	}
}

// K38: who has no master key changes and forges nothing in the ledger, flips no
// bit of it, and answers for no member.
func TestK38_ForgedLedger(t *testing.T) {
	w := newWorld(t, "")
	s := &shelf{Store: w.store}
	w.store = s
	a := w.start(t, release(t, build), "", nil)
	w.birth(a)
	a.enrolled(1)
	v := anchortest.Volume(1)
	must(t, a.Anchors().Swap(ctx, v, anchor.Record{}, anchortest.Record(1, 1)))
	s.remember(t)
	whole := map[string]kv.Value{}
	for n, b := range s.then {
		whole[n] = b
	}
	s.freeze(true)
	guarding := 0
	for name, good := range whole {
		found := 0
		for i := range good.Data {
			bad := bytes.Clone(good.Data)
			bad[i] ^= 1
			s.mu.Lock()
			s.then[name] = kv.Value{Data: bad, Revision: good.Revision}
			s.mu.Unlock()
			if r, err := a.Anchors().Get(ctx, v); err != nil {
				found++
			} else if r != anchortest.Record(1, 1) {
				t.Fatalf("%s, byte %d: %+v", name, i, r)
			}
		}
		switch found {
		case len(good.Data):
			guarding++
		case 0: // a bucket that this volume has nothing to do with
		default:
			t.Errorf("%s: %d of %d changes were found", name, found, len(good.Data))
		}
		s.mu.Lock()
		s.then[name] = good
		s.mu.Unlock()
	}
	if guarding != 2 {
		t.Errorf("%d values guard the anchor, of %d: root and bucket do", guarding, len(whole))
	}
}

// Most nodes must be there for an anchor; an operator may say that one is lost.
func TestAnchorsNeedAMajority(t *testing.T) {
	w := newWorld(t, "")
	a := w.start(t, release(t, build), "", nil)
	w.birth(a)
	b := w.start(t, release(t, build), "", nil)
	c := w.start(t, release(t, build), "", nil)
	c.enrolled(3)
	v := anchortest.Volume(1)
	must(t, a.Anchors().Swap(ctx, v, anchor.Record{}, anchortest.Record(1, 1)))
	c.stop()
	must(t, a.Anchors().Swap(ctx, v, anchortest.Record(1, 1), anchortest.Record(1, 2)))
	b.stop()
	if _, err := a.Anchors().Get(ctx, v); !errors.Is(err, ledger.ErrNoMajority) {
		t.Errorf("one of three: %v", err)
	}
	a.key(1) // keys are given all the same
	_, stranger, err := ed25519.GenerateKey(nil)
	must(t, err)
	if err := w.person(a).Forget(ctx, b.o.Address, 1, stranger); err == nil || !strings.Contains(err.Error(), "not signed by an operator") {
		t.Errorf("a stranger: %v", err)
	}
	// of three, the one that is left is a majority after both are forgotten
	if err := w.person(a).Forget(ctx, b.o.Address, 1, w.operator); err == nil || !strings.Contains(err.Error(), "most nodes") {
		t.Errorf("one of two: %v", err)
	}
	must(t, w.person(a).Forget(ctx, c.o.Address, 2, w.operator))
	if r, err := a.Anchors().Get(ctx, v); err != nil || r != anchortest.Record(1, 2) {
		t.Errorf("after forgetting: %+v, %v", r, err)
	}
	if err := w.person(a).Forget(ctx, a.o.Address, 2, w.operator); err == nil {
		t.Error("an order was taken twice")
	}
}

// Orders that one node takes hold on all of them, and come back to a node that
// lost its own.
func TestOrdersAreShared(t *testing.T) {
	w := newWorld(t, "")
	keeper := func(dir string) *orders.Keeper {
		k, err := orders.Open(ctx, orders.File(filepath.Join(dir, "orders.json")), w.config.Operators)
		must(t, err)
		return k
	}
	ka, kb := keeper(t.TempDir()), keeper(t.TempDir())
	a := w.start(t, release(t, build), "", func(o *cluster.Options) { o.Orders = ka })
	w.birth(a)
	w.start(t, release(t, build), "", func(o *cluster.Options) { o.Orders = kb })
	apply := func(k *orders.Keeper, number uint64, deny string) {
		t.Helper()
		text, err := orders.Sign(orders.Orders{Number: number, DenyCode: []attest.Hash{kdstest.Hash(deny)}}, w.operator)
		must(t, err)
		_, err = k.Apply(ctx, text)
		must(t, err)
	}
	reach := func(k *orders.Keeper, number uint64) {
		t.Helper()
		for range 1000 {
			if k.Orders().Number == number {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("orders %d did not come: %d", number, k.Orders().Number)
	}
	apply(ka, 1, "A")
	reach(kb, 1)
	apply(kb, 2, "B")
	reach(ka, 2)
	third := keeper(t.TempDir())
	w.start(t, release(t, build), "", func(o *cluster.Options) { o.Orders = third })
	reach(third, 2)
	if err := third.Allow(kdstest.Release(build, attest.Stale).Identity, kds.Spec{}.Hash()); err != nil {
		t.Errorf("%v", err)
	}
}

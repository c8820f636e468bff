package cluster_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/cluster"
	"github.com/coffer-fs/coffer/kds/cluster/kv"
	"github.com/coffer-fs/coffer/kds/cluster/record"
	"github.com/coffer-fs/coffer/kds/orders"
)

// No audit, no birth: not later either, when the node is started again and the
// log can be written.
func TestBirthWithoutAudit(t *testing.T) {
	w := newWorld(t, "")
	p := release(t, build)
	a := w.start(t, p, "", nil)
	a.until("looked", func(cluster.Status) bool { _, err := w.propose(a, 1); return err == nil })
	a.audit.mu.Lock()
	a.audit.err = errors.New("disk is full")
	a.audit.mu.Unlock()
	if _, _, err := w.person(a).Make(ctx, 1, w.operator); err == nil {
		t.Fatal("a birth that was not written down")
	}
	a.stop()
	again := w.start(t, p, a.o.Dir, nil)
	again.until("looked", func(cluster.Status) bool { _, err := w.propose(again, 1); return err == nil || again.Current() != 0 })
	if s, err := again.Status(); err != nil || s.State != cluster.Unborn {
		t.Errorf("%+v %v", s, err)
	}
}

// lossy is a store that makes the next generation and says nothing of it, and
// then shows none at all for as long as it is blank.
type lossy struct {
	kv.Store
	mu    sync.Mutex
	armed bool
	blank bool
}

func (l *lossy) Commit(ctx context.Context, ifs []kv.If, puts []kv.Put) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blank {
		return false, kv.ErrUnreachable
	}
	done, err := l.Store.Commit(ctx, ifs, puts)
	if l.armed && strings.HasPrefix(puts[0].Name, "generation/") {
		l.armed, l.blank = false, true
		return false, kv.ErrUnreachable
	}
	return done, err
}

func (l *lossy) List(ctx context.Context, prefix string) ([]kv.Named, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blank && prefix == "generation/" {
		return nil, nil
	}
	return l.Store.List(ctx, prefix)
}

func (l *lossy) set(armed, blank bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed, l.blank = armed, blank
}

// A store that shows nothing for a while, just when the outcome of a rotation is
// unknown, does not have the only node that holds the new key destroy it.
func TestRotationOfUnknownOutcomeInAStoreThatForgets(t *testing.T) {
	w := newWorld(t, "")
	l := &lossy{Store: w.store}
	a := w.start(t, release(t, build), "", func(o *cluster.Options) { o.Store = l })
	w.birth(a)
	l.set(true, false)
	if _, _, err := w.person(a).Make(ctx, 2, w.operator); err == nil {
		t.Fatal("the rotation is certain")
	}
	a.until("aware of it", func(s cluster.Status) bool { return s.Store != "" })
	l.set(false, false)
	a.until("of generation 2", func(s cluster.Status) bool { return s.Current == 2 })
}

// slow is a platform whose evidence takes until it is let go.
type slow struct {
	cpu
	entered, leave chan struct{}
}

func (s slow) Quote(d attest.ReportData) (attest.Evidence, error) {
	select {
	case s.entered <- struct{}{}:
		<-s.leave
	default:
	}
	return s.cpu.Quote(d)
}

// Anybody may ask for a proposal; keys are given while the node makes its
// evidence.
func TestKeysWhileProposing(t *testing.T) {
	w := newWorld(t, "")
	p := slow{release(t, build), make(chan struct{}), make(chan struct{})}
	a := w.start(t, p, "", nil)
	w.birth(a)
	go func() { _, _ = w.propose(a, 2) }()
	<-p.entered
	got := make(chan error, 1)
	go func() { _, err := a.Key(ctx, 1); got <- err }()
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("no key while the node makes evidence of a proposal")
	}
	close(p.leave)
}

// The same orders in two wrappings, which anybody on the way can make, are not
// exchanged for one another for ever.
func TestOrdersInTwoWrappings(t *testing.T) {
	w := newWorld(t, "")
	text, err := orders.Sign(orders.Orders{Number: 1}, w.operator)
	must(t, err)
	other, err := orders.Sign(orders.Orders{Number: 1, MinEvaluationNumber: 1}, w.operator)
	must(t, err)
	start := func(text []byte) *node {
		k, err := orders.Open(ctx, orders.File(t.TempDir()+"/orders.json"), w.config.Operators)
		must(t, err)
		_, err = k.Apply(ctx, text)
		must(t, err)
		return w.start(t, release(t, build), "", func(o *cluster.Options) { o.Orders = k })
	}
	a := start(text)
	w.birth(a)
	b := start(slices.Concat([]byte(" "), text))
	b.until("a member", is(cluster.Member))
	a.enrolled(2)
	number := func() uint64 {
		t.Helper()
		must(t, a.ShareOrders(ctx))
		must(t, b.ShareOrders(ctx))
		r, err := a.Ledger().Peek(ctx)
		must(t, err)
		return r.Number
	}
	if first, again := number(), number(); first != again {
		t.Errorf("the ledger changes without end: root %d, then %d", first, again)
	}
	third := start(other)
	third.until("a member", is(cluster.Member))
	if err := third.ShareOrders(ctx); err == nil {
		t.Error("other orders with the same number are no error")
	}
}

// Nobody has the audit log say that a custodian gave his share by giving none,
// or writes a line into it by showing again what an operator once signed.
func TestAuditLinesOfStrangers(t *testing.T) {
	w := newWorld(t, "")
	a := w.start(t, release(t, build), "", nil)
	g := w.birth(a)
	p := w.person(a)
	_, _, err := p.Make(ctx, 2, w.operator)
	must(t, err)
	a.until("of generation 2", func(s cluster.Status) bool { return s.Current == 2 })
	a.enrolled(1)
	must(t, p.Retire(ctx, g.Hash(), w.operator))
	if err := p.Forget(ctx, a.o.Address, math.MaxUint64, w.operator); err == nil {
		t.Error("after that order there is no other number")
	}
	must(t, p.Forget(ctx, a.o.Address, 1, w.operator))
	before := len(a.audit.lines())
	must(t, p.Retire(ctx, g.Hash(), w.operator))
	if err := p.Forget(ctx, a.o.Address, 1, w.operator); err == nil {
		t.Error("an order was taken twice")
	}
	if after := len(a.audit.lines()); after != before {
		t.Errorf("%d lines for what was done before", after-before)
	}
	a.stop()

	waiting := w.start(t, release(t, build), "", nil)
	waiting.until("waiting", is(cluster.Waiting))
	if _, err := waiting.Share(ctx, cluster.Shares{Custodian: "c0"}); !errors.Is(err, record.ErrShare) {
		t.Errorf("no share is taken: %v", err)
	}
	if e := waiting.audit.events(); slices.ContainsFunc(e, func(s string) bool { return strings.Contains(s, "c0") }) {
		t.Errorf("%q", e)
	}
}

// Addresses that say nothing, of which there are many when nodes are lost, do not
// keep a custodian waiting.
func TestRecoveryBesideSilentAddresses(t *testing.T) {
	w := newWorld(t, "")
	a := w.start(t, release(t, build), "", nil)
	w.birth(a)
	a.stop()
	reached := make(chan struct{}, 100)
	var peers []string
	for range 8 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		go func() { // connections are taken, and never answered
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				reached <- struct{}{}
			}
		}()
		peers = append(peers, l.Addr().String())
	}
	b := w.start(t, release(t, build), "", func(o *cluster.Options) { o.Peers = peers })
	for range peers { // side by side: all are asked before one has timed out
		select {
		case <-reached:
		case <-time.After(4 * time.Second):
			t.Fatal("the addresses are asked one after another")
		}
	}
	for _, sk := range w.custodians[:2] {
		waits, cancel := context.WithTimeout(ctx, 3*time.Second)
		_, _, err := w.person(b).Recover(waits, sk)
		cancel()
		must(t, err)
	}
	b.until("a member", is(cluster.Member))
}

// stuck is a store that answers nothing once it is told so.
type stuck struct {
	kv.Store
	on      atomic.Bool
	entered chan struct{}
}

func (s *stuck) List(ctx context.Context, prefix string) ([]kv.Named, error) {
	if s.on.Load() {
		select {
		case s.entered <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Store.List(ctx, prefix)
}

// Whoever waits for a change behind a store that does not answer goes when his
// time is up.
func TestWaitingObeysTheRequest(t *testing.T) {
	w := newWorld(t, "")
	s := &stuck{Store: w.store, entered: make(chan struct{}, 1)}
	a := w.start(t, release(t, build), "", func(o *cluster.Options) { o.Store = s })
	g := w.birth(a)
	s.on.Store(true)
	<-s.entered
	gone, cancel := context.WithCancel(ctx)
	cancel()
	done := make(chan error, 3)
	h := g.Hash()
	operator := w.operator.Public().(ed25519.PublicKey)
	confirmation := cluster.Confirmation{Hash: h[:], Operator: operator, Signature: ed25519.Sign(w.operator, h.OperatorBytes())}
	retirement := record.Retirement{Generation: h, Operator: operator, Signature: ed25519.Sign(w.operator, h.RetirementBytes())}
	go func() { _, err := a.Propose(gone, cluster.NewPropose("test", 2, w.operator)); done <- err }()
	go func() { _, err := a.Confirm(gone, confirmation); done <- err }()
	go func() { done <- a.Retire(gone, retirement.Encode()) }()
	for range 3 {
		select {
		case err := <-done:
			if !errors.Is(err, cluster.ErrBusy) {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("it waits for a store that does not answer")
		}
	}
	if _, err := a.Key(ctx, 1); err != nil {
		t.Error(err)
	}
}

// K46: only an operator proposes, and only as often as he asked: a stranger neither
// fills the room for proposals, nor takes the lock behind which operators wait.
func TestK46_ProposalsOfStrangers(t *testing.T) {
	w := newWorld(t, "")
	s := &stuck{Store: w.store, entered: make(chan struct{}, 1)}
	a := w.start(t, release(t, build), "", func(o *cluster.Options) { o.Store = s })
	w.birth(a)
	mine := cluster.NewPropose("test", 2, w.operator)
	_, err := a.Propose(ctx, mine)
	must(t, err)
	if _, err := a.Propose(ctx, mine); !errors.Is(err, cluster.ErrProposal) {
		t.Errorf("the same once more: %v", err)
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	must(t, err)
	operator := w.operator.Public().(ed25519.PublicKey)
	posed := cluster.NewPropose("test", 2, stranger)
	posed.Operator = operator
	changed := cluster.NewPropose("test", 2, w.operator)
	changed.Nonce[0] ^= 1
	later := cluster.NewPropose("test", 3, w.operator)
	later.Generation = 2
	short := cluster.Propose{Generation: 2, Operator: operator}
	q, err := w.propose(a, 2)
	must(t, err)
	g, err := record.ParseBody(q.Body)
	must(t, err)
	h := g.Hash()
	refused := func(store string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		for what, q := range map[string]cluster.Propose{"unsigned": {Generation: 2}, "a stranger": cluster.NewPropose("test", 2, stranger), "in the operator's name": posed,
			"for another cluster": cluster.NewPropose("other", 2, w.operator), "another nonce": changed, "for a later generation": later, "no signature": short} {
			for range cluster.MaxProposals + 1 {
				if _, err := a.Propose(ctx, q); !errors.Is(err, record.ErrRecord) {
					t.Fatalf("%s, %s: %v", store, what, err)
				}
			}
		}
		if _, err := a.Confirm(ctx, cluster.Confirmation{Hash: h[:], Operator: operator, Signature: ed25519.Sign(stranger, h.OperatorBytes())}); !errors.Is(err, record.ErrRecord) {
			t.Errorf("%s: a stranger confirms: %v", store, err)
		}
		retirement := record.Retirement{Generation: h, Operator: operator, Signature: ed25519.Sign(stranger, h.RetirementBytes())}
		if err := a.Retire(ctx, retirement.Encode()); !errors.Is(err, record.ErrRecord) {
			t.Errorf("%s: a stranger retires: %v", store, err)
		}
		if _, err := a.Share(ctx, cluster.Shares{}); !errors.Is(err, cluster.ErrNotWaiting) {
			t.Errorf("%s: a stranger gives shares: %v", store, err)
		}
	}
	refused("as it should be")
	_, err = w.propose(a, 2)
	must(t, err)
	s.on.Store(true) // from now on the lock is held for good
	<-s.entered
	refused("silent")
}

// A proposal ends when its time is up, and others do not push it out while an
// operator signs.
func TestProposalsEnd(t *testing.T) {
	w := newWorld(t, "")
	a := w.start(t, release(t, build), "", nil)
	w.birth(a)
	confirm := func(q cluster.Proposal) error {
		g, err := record.ParseBody(q.Body)
		must(t, err)
		h := g.Hash()
		_, err = a.Confirm(ctx, cluster.Confirmation{Hash: h[:], Operator: w.operator.Public().(ed25519.PublicKey), Signature: ed25519.Sign(w.operator, h.OperatorBytes())})
		return err
	}
	old, err := w.propose(a, 2)
	must(t, err)
	a.Age(10 * time.Minute)
	if err := confirm(old); !errors.Is(err, cluster.ErrProposal) {
		t.Errorf("a proposal of ten minutes ago: %v", err)
	}
	mine, err := w.propose(a, 2)
	must(t, err)
	for range cluster.MaxProposals - 1 {
		_, err := w.propose(a, 2)
		must(t, err)
	}
	if _, err := w.propose(a, 2); !errors.Is(err, cluster.ErrProposals) {
		t.Errorf("one too many: %v", err)
	}
	must(t, confirm(mine))
}

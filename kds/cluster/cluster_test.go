package cluster_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/cluster"
	"github.com/coffer-fs/coffer/kds/cluster/kv"
	"github.com/coffer-fs/coffer/kds/cluster/record"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/kds/server"
	"github.com/coffer-fs/coffer/key"
)

var ctx = context.Background()

// build is what nodes of the tests are built as.
var build = kdstest.NodeBuild

// world is an operator, custodians, and what all nodes are configured with.
type world struct {
	config     *nodeconfig.Config
	operator   ed25519.PrivateKey
	custodians []hpke.PrivateKey
	store      kv.Store
}

func newWorld(t *testing.T, more string) *world {
	t.Helper()
	_, op, err := ed25519.GenerateKey(nil)
	must(t, err)
	w := &world{operator: op}
	text := fmt.Sprintf("operators = [%q]\ncluster {\n name = \"test\"\n threshold = 2\n%s\n", hex.EncodeToString(op.Public().(ed25519.PublicKey)), more)
	for i := range 3 {
		sk, err := hpke.MLKEM768X25519().GenerateKey()
		must(t, err)
		w.custodians = append(w.custodians, sk)
		text += fmt.Sprintf(" custodian \"c%d\" { key = %q }\n", i, base64.StdEncoding.EncodeToString(sk.PublicKey().Bytes()))
	}
	w.config, err = nodeconfig.Parse("test", []byte(text+"}\n"))
	must(t, err)
	w.store = newStore(t)
	return w
}

func newStore(t *testing.T) kv.Store {
	t.Helper()
	s, err := kv.OpenFile(filepath.Join(t.TempDir(), "store"))
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// cpu is a release enclave on a CPU that can seal: evidence is its word, as of
// every kdstest.Fake, and seal keys are those of a simulated CPU.
type cpu struct {
	kdstest.Fake
	seals *sim.Enclave
}

func (c cpu) SealKey(p attest.SealPolicy, info []byte) (key.Key, []byte, error) {
	return c.seals.SealKey(p, info)
}

func release(t *testing.T, b sim.Build) cpu {
	t.Helper()
	return cpu{kdstest.Release(b, attest.Stale), kdstest.Sim(t, b)}
}

// node is a running node.
type node struct {
	*cluster.Node
	t     *testing.T
	o     cluster.Options
	url   string
	audit *auditor
	stop  func()
}

// auditor remembers what was written down.
type auditor struct {
	mu      sync.Mutex
	entries []audit.Entry
	err     error
}

func (a *auditor) Append(e audit.Entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries = append(a.entries, e)
	return a.err
}

func (a *auditor) Err() error { return a.err }

// all are the decisions about other nodes; events are all of another kind.
func (a *auditor) all() []audit.Entry {
	return slices.DeleteFunc(a.lines(), func(e audit.Entry) bool { return e.Event != audit.Released && e.Event != audit.Refused })
}

func (a *auditor) events() (all []string) {
	for _, e := range a.lines() {
		if e.Event != audit.Released && e.Event != audit.Refused {
			all = append(all, string(e.Event)+": "+e.Reason)
		}
	}
	return all
}

func (a *auditor) lines() []audit.Entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.entries
}

// start starts a node of w; dir is empty for a new one.
func (w *world) start(t *testing.T, p attest.Platform, dir string, change func(*cluster.Options)) *node {
	t.Helper()
	return w.launch(t, p, dir, "127.0.0.1:0", change)
}

// startAt starts a node again, with the address that it had.
func (w *world) startAt(t *testing.T, p attest.Platform, dir, addr string) *node {
	t.Helper()
	return w.launch(t, p, dir, addr, nil)
}

func (w *world) launch(t *testing.T, p attest.Platform, dir, addr string, change func(*cluster.Options)) *node {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	l, err := net.Listen("tcp", addr)
	must(t, err)
	a := &auditor{}
	o := cluster.Options{Config: w.config, Platform: p, Verifier: kdstest.Verifier(), Store: w.store, Dir: dir, Audit: a, Listener: l,
		Interval: 20 * time.Millisecond, Address: l.Addr().String()}
	if change != nil {
		change(&o)
	}
	n, err := cluster.Open(o)
	must(t, err)
	s, err := server.New(server.Options{Platform: p, Verifier: kdstest.Verifier(), Masters: []master.Provider{n}, Audit: a, Routes: n.Routes()})
	must(t, err)
	h := httptest.NewServer(s)
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = n.Run(running) }()
	one := &node{Node: n, t: t, o: o, url: h.URL, audit: a}
	one.stop = sync.OnceFunc(func() { cancel(); <-done; h.Close(); _ = l.Close(); _ = n.Close() })
	t.Cleanup(one.stop)
	return one
}

// until waits for the node's status to be as it should.
func (n *node) until(what string, ok func(cluster.Status) bool) {
	n.t.Helper()
	var s cluster.Status
	for range 500 {
		var err error
		if s, err = n.Status(); err == nil && ok(s) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.t.Fatalf("the node is not %s: %+v", what, s)
}

func is(state string) func(cluster.Status) bool {
	return func(s cluster.Status) bool { return s.State == state }
}

func (w *world) person(n *node) cluster.Person {
	self, _ := n.o.Platform.Self()
	c := kdstest.Policy(n.t, "C:"+string(self.CodeHash)+" SEC:"+self.Level.String())
	return cluster.Person{URL: n.url, Config: w.config, Constraint: c, Verifier: kdstest.Verifier()}
}

// propose has a node propose, as the operator.
func (w *world) propose(n *node, want kds.Generation) (cluster.Proposal, error) {
	return n.Propose(ctx, cluster.NewPropose(w.config.Cluster.Name, want, w.operator))
}

func (w *world) birth(n *node) *record.Generation {
	n.t.Helper()
	n.until("looked", func(s cluster.Status) bool {
		_, _, err := w.person(n).Make(ctx, 99, w.operator)
		return s.Store == "" && !strings.Contains(err.Error(), "503")
	})
	g, _, err := w.person(n).Make(ctx, 1, w.operator)
	must(n.t, err)
	n.until("a member", is(cluster.Member))
	return g
}

func (n *node) key(g kds.Generation) key.Key {
	n.t.Helper()
	k, err := n.Key(ctx, g)
	must(n.t, err)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Birth, join, restart without anybody: one key.
func TestOneKeyOnAllNodes(t *testing.T) {
	w := newWorld(t, "")
	a := w.start(t, release(t, build), "", nil)
	if _, err := a.Key(ctx, 0); !errors.Is(err, cluster.ErrNoKey) {
		t.Errorf("before the birth: %v", err)
	}
	g := w.birth(a)
	if a.Type() != kds.Cluster || a.Current() != 1 || !g.Holds(a.key(1)) {
		t.Error("another master key than the operator signed")
	}
	p := release(t, build)
	b := w.start(t, p, "", nil)
	b.until("a member", is(cluster.Member))
	want := a.key(1).Derive(nil, "kept for the test")
	if !b.key(1).Equal(a.key(1)) {
		t.Error("two nodes have two keys")
	}
	if _, err := b.Key(ctx, 2); !errors.Is(err, master.ErrGeneration) {
		t.Errorf("a generation that is not there: %v", err)
	}
	if es := a.audit.all(); len(es) != 1 || es[0].Event != audit.Released || es[0].Asker.CodeHash != string(build.CodeHash) {
		t.Errorf("written down: %+v", es)
	}
	a.stop()
	b.stop()
	again := w.start(t, p, b.o.Dir, func(o *cluster.Options) { o.Store = broken{} })
	if !again.key(1).Derive(nil, "kept for the test").Equal(want) || again.Current() != 1 {
		t.Error("another key after a restart without other nodes and without the store")
	}
}

// broken is a store that is away.
type broken struct{}

func (broken) Get(context.Context, ...string) ([]kv.Value, error) { return nil, kv.ErrUnreachable }
func (broken) List(context.Context, string) ([]kv.Named, error)   { return nil, kv.ErrUnreachable }
func (broken) Commit(context.Context, []kv.If, []kv.Put) (bool, error) {
	return false, kv.ErrUnreachable
}
func (broken) Close() error { return nil }

// uncertain is a store whose commits fail, after they took effect or before.
type uncertain struct {
	kv.Store
	effect bool
}

func (u uncertain) Commit(ctx context.Context, ifs []kv.If, puts []kv.Put) (bool, error) {
	if strings.HasPrefix(puts[0].Name, "generation/") {
		if u.effect {
			_, _ = u.Store.Commit(ctx, ifs, puts)
		}
		return false, kv.ErrUnreachable
	}
	return u.Store.Commit(ctx, ifs, puts)
}

// A birth whose outcome is unknown ends well both ways, also for a node that
// is started anew.
func TestBirthOfUnknownOutcome(t *testing.T) {
	for _, effect := range []bool{true, false} {
		w := newWorld(t, "")
		p := release(t, build)
		a := w.start(t, p, "", func(o *cluster.Options) { o.Store = uncertain{w.store, effect} })
		a.until("looked", func(cluster.Status) bool { _, err := w.propose(a, 1); return err == nil })
		if _, _, err := w.person(a).Make(ctx, 1, w.operator); err == nil {
			t.Fatal("the birth is certain")
		}
		a.stop()
		again := w.start(t, p, a.o.Dir, nil)
		again.until("a member", is(cluster.Member))
		b := w.start(t, release(t, build), "", nil)
		b.until("a member", is(cluster.Member))
		if !b.key(1).Equal(again.key(1)) {
			t.Error("two keys")
		}
	}
}

// K30: only one birth, however many try, and only the operator's.
func TestK30_OneBirth(t *testing.T) {
	w := newWorld(t, "")
	nodes := []*node{w.start(t, release(t, build), "", nil), w.start(t, release(t, build), "", nil)}
	for _, n := range nodes {
		n.until("looked", func(cluster.Status) bool { _, err := w.propose(n, 1); return err == nil })
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	must(t, err)
	if _, _, err := w.person(nodes[0]).Make(ctx, 1, stranger); err == nil || !strings.Contains(err.Error(), "not signed by an operator") {
		t.Errorf("a stranger's birth: %v", err)
	}
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, _, errs[i] = w.person(nodes[i%2]).Make(ctx, 1, w.operator) })
	}
	wg.Wait()
	born := 0
	for _, err := range errs {
		if err == nil {
			born++
		}
	}
	if born != 1 {
		t.Errorf("%d births: %v", born, errs)
	}
	for _, n := range nodes {
		n.until("a member", is(cluster.Member))
	}
	if !nodes[0].key(1).Equal(nodes[1].key(1)) {
		t.Error("two keys")
	}
	// a store that was emptied does not make a second birth possible
	w.store = newStore(t)
	p := nodes[0].o.Platform
	nodes[0].stop()
	nodes[1].stop()
	again := w.start(t, p, nodes[0].o.Dir, nil)
	again.until("done with the store", func(s cluster.Status) bool { _, err := w.propose(again, 2); return err == nil })
	if _, _, err := w.person(again).Make(ctx, 1, w.operator); err == nil || !strings.Contains(err.Error(), "has a master key already") {
		t.Errorf("a second birth in an empty store: %v", err)
	}
	if l, err := w.store.List(ctx, "generation/"); err != nil || len(l) != 1 {
		t.Errorf("the store got back %d records, %v", len(l), err)
	}
}

// K31: who is not such an enclave gets no master key, and that is written down.
func TestK31_JoinByAnother(t *testing.T) {
	change := func(f func(*sim.Build)) sim.Build { b := build; f(&b); return b }
	weak := cpu{kdstest.Release(build, attest.Insecure), kdstest.Sim(t, build)}
	debug := release(t, build)
	debug.Identity.Mode, debug.Identity.Level = attest.Debug, attest.Insecure
	newer := change(func(b *sim.Build) { b.CodeHash, b.RevocationLevel = kdstest.Hash("9"), 1 })
	older := change(func(b *sim.Build) { b.CodeHash, b.RevocationLevel = kdstest.Hash("8"), -1 })
	for _, c := range []struct {
		name, peers string
		p           attest.Platform
		ok          bool
	}{
		{"same code", "", release(t, build), true},
		{"other code", "", release(t, newer), false},
		{"other code of the signer, newer", `peers = "signer"`, release(t, newer), true},
		{"other code of the signer, older", `peers = "signer"`, release(t, older), false},
		{"another product", `peers = "signer"`, release(t, change(func(b *sim.Build) { b.CodeHash, b.ProductID = kdstest.Hash("9"), 8 })), false},
		{"another signer", `peers = "signer"`, release(t, change(func(b *sim.Build) { b.CodeHash, b.SignerHash = kdstest.Hash("9"), kdstest.Hash("7") })), false},
		{"a platform that is revoked", "", weak, false},
		{"not secure enough", `security = "SECURE"`, release(t, build), false},
		{"debug", "", debug, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.peers)
			a := w.start(t, release(t, build), "", nil)
			w.birth(a)
			b := w.start(t, c.p, "", nil)
			if c.ok {
				b.until("a member", is(cluster.Member))
				return
			}
			for len(a.audit.all()) == 0 { // it is refused, and asks again
				time.Sleep(5 * time.Millisecond)
			}
			e := a.audit.all()[0]
			if s, err := b.Status(); err != nil || s.State != cluster.Waiting || e.Event != audit.Refused || e.Reason == "" {
				t.Errorf("%+v, written down %+v, %v", s, e, err)
			}
		})
	}
}

// A simulated enclave is no peer of a real one, and keeps another type of key.
func TestK06_SimEvidenceForACluster(t *testing.T) {
	w := newWorld(t, "")
	a := w.start(t, kdstest.Sim(t, build), "", nil)
	w.birth(a)
	if a.Type() != kds.Development {
		t.Errorf("simulated nodes keep a key of type %s", a.Type())
	}
	client := func(n *node, t kds.MasterKeyType) error {
		c := kds.Client{URL: n.url, Platform: kdstest.Sim(n.t, kdstest.AppBuild), Verifier: kdstest.Verifier(), Constraint: w.person(n).Constraint}
		_, err := c.Private(ctx, kds.Spec{Name: "x", MasterKeyType: t, PolicyConstraint: kdstest.Policy(n.t, kdstest.AppPolicy)}, kds.Storage)
		return err
	}
	if err := client(a, kds.Development); err != nil {
		t.Errorf("a development key: %v", err)
	}
	if err := client(a, kds.Cluster); !errors.Is(err, kds.ErrRefused) {
		t.Errorf("a cluster key from a simulated cluster: %v", err)
	}
	w2 := newWorld(t, "")
	b := w2.start(t, release(t, build), "", nil)
	w2.birth(b)
	if err := client(b, kds.Cluster); !errors.Is(err, kds.ErrRefused) {
		t.Errorf("a cluster key for a simulated enclave: %v", err)
	}
	c := w2.start(t, kdstest.Sim(t, build), "", nil)
	for range 20 {
		if s, err := c.Status(); err != nil || s.State == cluster.Member {
			t.Fatalf("a simulated node of a real cluster: %+v, %v", s, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(b.audit.all()) > 0 && b.audit.all()[0].Event == audit.Released {
		t.Error("a master key left for a simulated node")
	}
}

// No audit, no master key.
func TestJoinWithoutAudit(t *testing.T) {
	w := newWorld(t, "")
	a := w.start(t, release(t, build), "", nil)
	w.birth(a)
	a.audit.mu.Lock()
	a.audit.err = errors.New("disk is full")
	a.audit.mu.Unlock()
	b := w.start(t, release(t, build), "", nil)
	for len(a.audit.all()) < 2 {
		time.Sleep(5 * time.Millisecond)
	}
	if s, _ := b.Status(); s.State != cluster.Waiting {
		t.Errorf("%+v", s)
	}
}

// K33: sealed keys open for this enclave on this machine only, and damage is
// never another key.
func TestK33_SealedKeys(t *testing.T) {
	w := newWorld(t, "")
	p := release(t, build)
	a := w.start(t, p, "", nil)
	w.birth(a)
	a.stop()
	path := filepath.Join(a.o.Dir, cluster.SealedFile)
	good, err := os.ReadFile(path)
	must(t, err)
	open := func(p attest.Platform, c *nodeconfig.Config) error {
		n, err := cluster.Open(cluster.Options{Config: c, Platform: p, Verifier: kdstest.Verifier(), Store: w.store, Dir: a.o.Dir, Audit: a.audit})
		if err == nil {
			_ = n.Close()
		}
		return err
	}
	other := build
	other.CodeHash = kdstest.Hash("9")
	for name, err := range map[string]error{
		"another machine": open(release(t, build), w.config),
		"another code":    open(cpu{kdstest.Release(other, attest.Stale), kdstest.Sim(t, other)}, w.config),
		"another cluster": open(p, newWorld(t, "").config),
	} {
		if !errors.Is(err, cluster.ErrSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := 0; i < len(good); i += 7 {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		must(t, os.WriteFile(path, bad, 0o600))
		if err := open(p, w.config); !errors.Is(err, cluster.ErrSealed) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	must(t, os.WriteFile(path, good, 0o600))
	must(t, open(p, w.config))
}

// K34: a store that shows less, or other things, than the node has seen.
func TestK34_StoreRolledBackOrForked(t *testing.T) {
	w := newWorld(t, "")
	p := release(t, build)
	a := w.start(t, p, "", nil)
	w.birth(a)
	before := a.key(1).Derive(nil, "kept for the test")
	a.stop()
	// the host has another cluster born with the same people
	fork := &world{config: w.config, operator: w.operator, store: newStore(t)}
	b := fork.start(t, release(t, build), "", nil)
	fork.birth(b)
	again := w.start(t, p, a.o.Dir, func(o *cluster.Options) { o.Store = fork.store })
	again.until("aware", func(s cluster.Status) bool { return s.Store == cluster.ErrRolledBack.Error() })
	if !again.key(1).Derive(nil, "kept for the test").Equal(before) {
		t.Error("the key changed")
	}
	if _, err := w.propose(again, 2); err == nil {
		t.Error("a node goes on with a store that it does not believe")
	}
	// a record of somebody else's making is no record at all
	g, err := w.store.List(ctx, "generation/")
	must(t, err)
	evil := newStore(t)
	forged := bytes.Clone(g[0].Data)
	forged[len(forged)-1] ^= 1
	_, err = evil.Commit(ctx, nil, []kv.Put{{Name: g[0].Name, Data: forged}})
	must(t, err)
	c := w.start(t, release(t, build), "", func(o *cluster.Options) { o.Store = evil })
	c.until("aware", func(s cluster.Status) bool { return strings.Contains(s.Store, "operator's signature does not match") })
}

// A new generation is there beside the old one, on all nodes; a retired one is
// gone; a lost store gets all of it back.
func TestRotateAndRetire(t *testing.T) {
	w := newWorld(t, "")
	a := w.start(t, release(t, build), "", nil)
	first := w.birth(a)
	p := release(t, build)
	b := w.start(t, p, "", nil)
	b.until("a member", is(cluster.Member))
	one := a.key(1)
	_, _, err := w.person(b).Make(ctx, 2, w.operator)
	must(t, err)
	for _, n := range []*node{a, b} {
		n.until("in generation 2", func(s cluster.Status) bool { return s.Current == 2 })
		if !n.key(1).Equal(one) || n.key(2).Equal(one) {
			t.Error("the old generation changed, or the new one is the old")
		}
	}
	if !a.key(2).Equal(b.key(2)) {
		t.Error("two keys of one generation")
	}
	if err := w.person(a).Retire(ctx, first.Hash(), w.operator); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{a, b} {
		n.until("without generation 1", func(s cluster.Status) bool { return s.Generations[0].Retired && !s.Generations[0].Held })
		if _, err := n.Key(ctx, 1); !errors.Is(err, master.ErrGeneration) || !strings.Contains(err.Error(), "retired") {
			t.Errorf("the retired generation: %v", err)
		}
	}
	wrote(t, a, "master key: to be made: record ", "master key: current from now on", "master key: held from now on, from another node",
		"master key: to be retired, signed by an operator")
	wrote(t, b, "master key: held from now on, from another node", "master key: to be made: record ")
	two := b.key(2).Derive(nil, "kept for the test")
	a.stop()
	b.stop()
	w.store = newStore(t)
	again := w.start(t, p, b.o.Dir, nil)
	again.until("restored", func(s cluster.Status) bool {
		g, _ := w.store.List(ctx, "generation/")
		r, _ := w.store.List(ctx, "retired/")
		return len(g) == 2 && len(r) == 1 && s.Store == ""
	})
	c := w.start(t, release(t, build), "", nil)
	c.until("a member", is(cluster.Member))
	if c.Current() != 2 || !c.key(2).Derive(nil, "kept for the test").Equal(two) {
		t.Error("another key")
	}
}

// wrote checks that these events are in the audit log of a node.
func wrote(t *testing.T, n *node, want ...string) {
	t.Helper()
	all := n.audit.events()
	for _, w := range want {
		if !slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, w) }) {
			t.Errorf("the audit log has no %q: %q", w, all)
		}
	}
}

// The newest generation is not current while it might be lost with one node.
func TestGenerationWaitsForMajority(t *testing.T) {
	w := newWorld(t, "")
	a := w.start(t, release(t, build), "", nil)
	w.birth(a)
	for i := range 2 { // two nodes that are alive, and behind
		addr := fmt.Sprintf("127.0.0.1:%d", i+1)
		_, err := w.store.Commit(ctx, nil, []kv.Put{{Name: "member/" + addr, Data: fmt.Appendf(nil, `{"address":%q,"generation":1}`, addr)}})
		must(t, err)
	}
	a.until("aware of them", func(s cluster.Status) bool { return len(s.Members) == 3 })
	_, _, err := w.person(a).Make(ctx, 2, w.operator)
	must(t, err)
	a.until("holding it", func(s cluster.Status) bool { return len(s.Generations) == 2 && s.Generations[1].Held })
	if a.Current() != 1 {
		t.Error("a generation is current that one node has")
	}
	b := w.start(t, release(t, build), "", nil)
	b.until("holding both", func(s cluster.Status) bool { return len(s.Generations) == 2 && s.Generations[1].Held })
}

// K36: all nodes are lost; two of three custodians bring the same key back, to a
// genuine node only.
func TestK36_RecoveryToAGenuineNode(t *testing.T) {
	w := newWorld(t, "")
	a := w.start(t, release(t, build), "", nil)
	w.birth(a)
	want := a.key(1).Derive(nil, "kept for the test")
	a.stop()
	b := w.start(t, release(t, build), "", nil)
	b.until("waiting", is(cluster.Waiting))
	if _, err := b.Key(ctx, 1); !errors.Is(err, cluster.ErrNoKey) {
		t.Errorf("a node that waits gives keys: %v", err)
	}
	p := w.person(b)
	p.Constraint = kdstest.Policy(t, "C:"+string(kdstest.Hash("9"))+" SEC:STALE")
	if _, _, err := p.Recover(ctx, w.custodians[0]); !errors.Is(err, cluster.ErrNotTrusted) {
		t.Errorf("a share for an enclave that is not the one: %v", err)
	}
	// a relay that puts in a key of its own gets no share
	relay := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s, _ := b.Status()
		sk, _ := hpke.MLKEM768X25519().GenerateKey()
		s.Recovery.Key = sk.PublicKey().Bytes()
		_, _ = rw.Write(mustJSON(t, s))
	}))
	defer relay.Close()
	p = w.person(b)
	p.URL = relay.URL
	if _, _, err := p.Recover(ctx, w.custodians[0]); !errors.Is(err, cluster.ErrNotTrusted) {
		t.Errorf("a share for a key that no enclave has: %v", err)
	}
	for i, sk := range []hpke.PrivateKey{w.custodians[2], w.custodians[0]} {
		who, status, err := w.person(b).Recover(ctx, sk)
		if err != nil || len(status) != 1 || status[0].Have != i+1 || status[0].Need != 2 || who != []string{"c2", "c0"}[i] {
			t.Fatalf("share %d: %s, %+v, %v", i, who, status, err)
		}
	}
	b.until("a member", is(cluster.Member))
	if !b.key(1).Derive(nil, "kept for the test").Equal(want) {
		t.Error("another key came back")
	}
	wrote(t, b, "master key: share of custodian c2, 1 of 2", "master key: share of custodian c0, 2 of 2", "master key: held from now on, from the shares of custodians")
	if _, _, err := w.person(b).Recover(ctx, w.custodians[1]); !errors.Is(err, cluster.ErrNotWaiting) {
		t.Errorf("a share for a member: %v", err)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return b
}

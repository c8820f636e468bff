// Package cluster is the master key of many nodes: each generation of it is one
// random secret that every node holds, in its enclave and nowhere else.
//
//	birth     one node makes the key, an operator signs its commitment   birth.go
//	join      a node gets the keys from another, over attested TLS       join.go
//	rest      the keys are sealed to the platform                        sealed.go
//	recovery  custodians bring the keys back when all nodes are lost     recovery.go
//	rotation  a new generation beside the old ones                       birth.go
//	anchors   what all nodes share and must not go back       shared.go, witness.go
//	retiring  nobody derives from a generation any more                  retire.go
//
// The store that the nodes agree on is not trusted: what it holds is signed by
// the master keys and the operator (package record), and a node refuses whatever
// is older than what it has seen. It is not needed to give keys: a node that was
// started once goes on without store and without other nodes.
//
// It promises that nothing ever overwrites a generation; that a node takes no
// master key but one whose commitment an operator signed; that a master key
// leaves only to an enclave that may be a node, on the connection on which it
// was identified; and that a node that cannot be sure says so and gives nothing.
//
// Nodes on simulated CPUs keep a *development* master key this way: simulated
// enclaves get keys of that type only, and real ones none of it.
//
// Lock order: Node.changing before Node.mu. Imported by cmd/coffer-kds.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/cluster/kv"
	"github.com/coffer-fs/coffer/kds/cluster/ledger"
	"github.com/coffer-fs/coffer/kds/cluster/peer"
	"github.com/coffer-fs/coffer/kds/cluster/record"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/kds/orders"
	"github.com/coffer-fs/coffer/key"
)

// Limits of a node.
const (
	// DefaultInterval is how often a node looks at the store.
	DefaultInterval = time.Second
	// MaxConnections is how many other nodes are connected at once.
	MaxConnections = 64
	// aliveFor is how long a node counts as alive after its last sign.
	aliveFor = 20 * time.Second
	// beatEvery is how often a node gives a sign.
	beatEvery = 5 * time.Second
	// storeStale is when a node says that it does not know the store's state.
	storeStale = 5 * time.Second
	// dyingFor is how long a retired key stays in memory: requests that have
	// it must end first.
	dyingFor = time.Minute
)

// Auditor is where it is written down that a master key was given.
type Auditor interface {
	Append(audit.Entry) error
}

// Options of a node. All but the last group are required.
type Options struct {
	// Config is the measured configuration; it has a cluster.
	Config *nodeconfig.Config
	// Platform is the node's own enclave.
	Platform attest.Platform
	// Verifier reads the evidence of other nodes.
	Verifier attest.Verifier
	// Store is what the nodes agree on. It is not trusted.
	Store kv.Store
	// Dir is where the sealed keys are.
	Dir string
	// Audit is told before a master key is given to another node.
	Audit Auditor

	// Orders are the operator's, which all nodes share. Default none.
	Orders *orders.Keeper
	// Listener is for other nodes. Default: there are none.
	Listener net.Listener
	// Address is how other nodes reach the listener. Default its own address.
	Address string
	// Peers are addresses of other nodes, beside those in the store.
	Peers []string
	// Interval is how often the store is looked at. Default DefaultInterval.
	Interval time.Duration
	// Logger is told of what happens. Default silent.
	Logger *slog.Logger
}

// Node is one node's hold on the master keys: a master.Provider.
type Node struct {
	o     Options
	party *peer.Party
	typ   kds.MasterKeyType

	changing changing // held while the state changes; guards sealing

	mu        sync.RWMutex // guards what follows
	state     record.State // as seen in the store, or sealed; only grows
	keys      peer.Keys    // by generation
	current   kds.Generation
	tentative *proposal // confirmed by an operator; whether the store has it is unknown
	proposals map[record.Hash]*proposal
	nonces    nonces
	recovery  *recovery
	members   map[string]*member
	looked    time.Time // when the store was last seen whole
	storeErr  error
	dying     []dying

	woken chan struct{}

	ledger  *ledger.Ledger
	witness *witness

	shared   time.Time // owned by loop, as is shareErr
	shareErr error
}

var _ master.Provider = (*Node)(nil)

// proposal is a master key that is not yet one.
type proposal struct {
	g  *record.Generation
	mk key.Key
	at time.Time
}

type dying struct {
	k     key.Key
	since time.Time
}

// Open opens a node with what it has sealed. Run must follow.
func Open(o Options) (*Node, error) {
	if o.Config == nil || o.Config.Cluster == nil || o.Platform == nil || o.Verifier == nil || o.Store == nil || o.Dir == "" || o.Audit == nil {
		return nil, fmt.Errorf("%w: it needs a configuration with a cluster, a platform, a verifier, a store, a directory and an audit log", ErrOptions)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Listener != nil && o.Address == "" {
		o.Address = o.Listener.Addr().String()
	}
	n := &Node{o: o, typ: Type(o.Platform.Mode()), keys: peer.Keys{}, proposals: map[record.Hash]*proposal{}, changing: newChanging(),
		members: map[string]*member{}, woken: make(chan struct{}, 1),
		party: &peer.Party{Cluster: o.Config.Cluster.Name, Platform: o.Platform, Verifier: o.Verifier, Peers: o.Config.Cluster.Peers}}
	n.witness = &witness{n: n}
	n.ledger = ledger.New(o.Store, n, n.witness)
	if err := n.party.Init(); err != nil {
		return nil, err
	}
	return n, n.unseal()
}

// Type is the type of the master keys of nodes that run so. Simulated nodes
// have a development key, which is never given to a release enclave; and the type
// is part of every derivation, so no key of theirs is ever one of a real cluster.
func Type(m attest.Mode) kds.MasterKeyType {
	if m == attest.Simulation {
		return kds.Development
	}
	return kds.Cluster
}

// Run keeps the node a part of its cluster until ctx ends: it looks at the
// store, gets what keys it lacks, and answers other nodes.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { n.loop(ctx) })
	var err error
	if l := n.o.Listener; l == nil {
		<-ctx.Done()
	} else {
		err = n.party.Serve(ctx, netutil.LimitListener(l, MaxConnections), n.handlers(), n.o.Logger)
	}
	cancel()
	wg.Wait()
	return err
}

func (n *Node) loop(ctx context.Context) {
	ticker := time.NewTicker(n.o.Interval)
	defer ticker.Stop()
	for {
		n.look(ctx)
		n.share(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-n.woken:
		}
	}
}

// wake has the store looked at soon.
func (n *Node) wake() {
	select {
	case n.woken <- struct{}{}:
	default:
	}
}

// Type implements master.Provider.
func (n *Node) Type() kds.MasterKeyType { return n.typ }

// Current implements master.Provider: 0 while the node has no key.
func (n *Node) Current() kds.Generation {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.current
}

// Key implements master.Provider.
func (n *Node) Key(_ context.Context, g kds.Generation) (key.Key, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	k, held := n.keys[g]
	switch {
	case n.current == 0:
		return key.Key{}, fmt.Errorf("%w: it is %s", ErrNoKey, n.stateName())
	case n.state.Retired[g]:
		return key.Key{}, fmt.Errorf("%w: generation %d is retired", master.ErrGeneration, g)
	case held && n.state.Get(g) != nil:
		return k, nil
	case n.state.Get(g) != nil, n.looked.IsZero(), time.Since(n.looked) > storeStale:
		return key.Key{}, fmt.Errorf("%w of generation %d yet", ErrNoKey, g)
	}
	return key.Key{}, fmt.Errorf("%w: the newest is %d, asked for %d", master.ErrGeneration, len(n.state.Generations), g)
}

// Close implements master.Provider.
func (n *Node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keys.Destroy()
	n.keys, n.current = peer.Keys{}, 0
	for _, d := range n.dying {
		d.k.Destroy()
	}
	for _, p := range n.proposals {
		p.mk.Destroy()
	}
	if n.tentative != nil {
		n.tentative.mk.Destroy()
	}
	return nil
}

// stateName is the state of the node. n.mu is held.
func (n *Node) stateName() string {
	switch {
	case n.current != 0:
		return Member
	case len(n.state.Generations) > 0 || n.tentative != nil:
		return Waiting
	}
	return Unborn
}

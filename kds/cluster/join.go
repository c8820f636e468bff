package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/cluster/peer"
	"github.com/coffer-fs/coffer/kds/cluster/record"
)

// missing are the generations that the node should have and has not. n.mu is
// held.
func (n *Node) missing() []*record.Generation {
	var all []*record.Generation
	for _, g := range n.state.Generations {
		if _, held := n.keys[g.Number]; !held && !n.state.Retired[g.Number] {
			all = append(all, g)
		}
	}
	return all
}

// maxAsked is how many nodes are asked for keys at once.
const maxAsked = 16

// fetchMissing gets the keys that this node lacks from others, which it asks side
// by side until it has all. That there is none is no error: the node waits, and
// asks again. n.changing is not held while others are asked.
func (n *Node) fetchMissing(ctx context.Context) error {
	n.mu.RLock()
	lacks := n.missing()
	addrs := n.addresses()
	n.mu.RUnlock()
	if len(lacks) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var asked sync.WaitGroup
	slots, errs := make(chan struct{}, maxAsked), make(chan error, len(addrs))
	for _, addr := range addrs {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break // another had them all
		}
		asked.Go(func() {
			defer func() { <-slots }()
			all, err := n.fetchFrom(ctx, addr, lacks)
			if all || err != nil {
				cancel()
			}
			errs <- err
		})
	}
	asked.Wait()
	close(errs)
	var failed error
	for err := range errs {
		failed = errors.Join(failed, err)
	}
	return failed
}

// fetchFrom takes what one node has, and reports whether that was all. It is no
// error that it gave none.
func (n *Node) fetchFrom(ctx context.Context, addr string, lacks []*record.Generation) (all bool, err error) {
	got, err := n.fetch(ctx, addr, lacks)
	if err != nil {
		if ctx.Err() == nil {
			n.o.Logger.Warn("no master keys from another node", "address", addr, "error", err)
		}
		return false, nil
	}
	if n.changing.lock(ctx) != nil {
		got.Destroy()
		return false, nil
	}
	defer n.changing.unlock()
	all = len(got) == len(lacks)
	return all, n.take(n.stillMissing(got), "from another node")
}

// stillMissing leaves the keys that nobody gave this node meanwhile, and destroys
// the others. n.changing is held.
func (n *Node) stillMissing(got peer.Keys) peer.Keys {
	defer got.Destroy()
	n.mu.RLock()
	defer n.mu.RUnlock()
	still := peer.Keys{}
	for _, g := range n.missing() {
		if k, ok := got[g.Number]; ok {
			still[g.Number] = k
			delete(got, g.Number)
		}
	}
	return still
}

// addresses are those of other nodes, the ones alive first. n.mu is held.
func (n *Node) addresses() []string {
	set := map[string]bool{}
	for _, a := range n.o.Peers {
		set[a] = true
	}
	for a := range n.members {
		set[a] = true
	}
	delete(set, n.o.Address)
	alive := func(a string) bool { m := n.members[a]; return m != nil && m.alive() }
	var all []string
	for a := range set {
		all = append(all, a)
	}
	sort.Slice(all, func(i, j int) bool {
		if x, y := alive(all[i]), alive(all[j]); x != y {
			return x
		}
		return all[i] < all[j]
	})
	return all
}

// fetch asks one node, and checks each key against the commitment that an
// operator signed.
func (n *Node) fetch(ctx context.Context, addr string, lacks []*record.Generation) (peer.Keys, error) {
	keys, id, err := n.party.Fetch(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer keys.Destroy()
	good := peer.Keys{}
	for _, g := range lacks {
		k, ok := keys[g.Number]
		switch {
		case !ok:
		case !g.Holds(k):
			good.Destroy()
			return nil, fmt.Errorf("node %s gave another master key than the commitment of generation %d says", id.CodeHash, g.Number)
		default:
			good[g.Number] = k
			delete(keys, g.Number) // it is ours now
		}
	}
	return good, nil
}

// write puts what happens to a generation of the master key into the audit log,
// before it happens.
func (n *Node) write(g kds.Generation, format string, args ...any) error {
	e := audit.Entry{Event: audit.MasterKey, Reason: fmt.Sprintf(format, args...),
		Key: &audit.Key{Name: "master key of cluster " + n.o.Config.Cluster.Name, MasterKeyType: string(n.typ), Generation: uint32(g)}}
	if err := n.o.Audit.Append(e); err != nil {
		return fmt.Errorf("nothing happens to a master key without audit: %w", err)
	}
	return nil
}

// take begins to hold keys, which were checked, and seals them first of all.
func (n *Node) take(keys peer.Keys, from string) error {
	if len(keys) == 0 {
		return nil
	}
	for _, g := range slices.Sorted(maps.Keys(keys)) {
		if err := n.write(g, "held from now on, %s", from); err != nil {
			keys.Destroy()
			return err
		}
	}
	n.mu.Lock()
	for g, k := range keys {
		n.keys[g] = k
	}
	n.recovery = nil
	n.mu.Unlock()
	n.o.Logger.Info("node got master keys", "generations", len(keys))
	return n.seal()
}

// handlers are what this node does for others.
func (n *Node) handlers() peer.Handlers {
	more := map[string]func(context.Context, []byte) (any, error){seenPath: n.witness.answerSeen}
	return peer.Handlers{Give: n.give, More: more}
}

// give decides whether another node gets the master keys: it is written down,
// and then done.
func (n *Node) give(_ context.Context, to attest.Identity, refused error) (peer.Keys, error) {
	n.mu.RLock()
	keys, newest := peer.Keys{}, kds.Generation(0)
	for g, k := range n.keys {
		keys[g], newest = k, max(newest, g)
	}
	n.mu.RUnlock()
	if refused == nil && len(keys) == 0 {
		return nil, ErrNoKey
	}
	e := audit.Entry{Event: audit.Released,
		Asker: &audit.Asker{CodeHash: string(to.CodeHash), Signer: string(to.SignerHash), ProductID: to.ProductID,
			RevocationLevel: to.RevocationLevel, Level: to.Level.String(), Mode: to.Mode.String()},
		Key: &audit.Key{Name: "master key of cluster " + n.o.Config.Cluster.Name, MasterKeyType: string(n.typ),
			Purpose: "join", Generation: uint32(newest)}}
	if refused != nil {
		e.Event, e.Reason = audit.Refused, refused.Error()
	}
	if err := n.o.Audit.Append(e); err != nil {
		return nil, fmt.Errorf("no master key without audit: %w", err)
	}
	return keys, refused
}

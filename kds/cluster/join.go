package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"

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

// fetchMissing gets the keys that this node lacks from another one. That there
// is none is no error: the node waits, and asks again.
func (n *Node) fetchMissing(ctx context.Context) error {
	n.mu.RLock()
	lacks := n.missing()
	addrs := n.addresses()
	n.mu.RUnlock()
	if len(lacks) == 0 {
		return nil
	}
	for _, addr := range addrs {
		got, err := n.fetch(ctx, addr, lacks)
		if err != nil {
			n.o.Logger.Warn("no master keys from another node", "address", addr, "error", err)
			continue
		}
		if err := n.take(got, "from another node"); err != nil || len(got) == len(lacks) {
			return err
		}
	}
	return nil
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

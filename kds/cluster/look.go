package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/cluster/kv"
	"github.com/coffer-fs/coffer/kds/cluster/record"
	"github.com/coffer-fs/coffer/kds/internal/strictjson"
)

// The names in the store.
const (
	generationPrefix = "generation/"
	retiredPrefix    = "retired/"
	memberPrefix     = "member/"
	maxMembers       = 256
	maxAddressBytes  = 256
)

func generationName(g kds.Generation) string { return fmt.Sprintf("%s%010d", generationPrefix, g) }
func retiredName(g kds.Generation) string    { return fmt.Sprintf("%s%010d", retiredPrefix, g) }

// member is what this node knows of another, or of itself. The store says it,
// and it is only a hint: where to ask, and whether it makes sense to.
type member struct {
	hint
	revision int64
	changed  time.Time // when this node saw it change
}

// hint is what a node writes of itself.
type hint struct {
	Address    string         `json:"address"`
	Generation kds.Generation `json:"generation"`
}

func (m *member) alive() bool { return time.Since(m.changed) < aliveFor }

// look brings the node up to date with the store.
func (n *Node) look(ctx context.Context) {
	err := n.update(ctx)
	n.mu.Lock()
	before := n.storeErr
	n.storeErr = err
	n.bury()
	n.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil && before == nil:
		n.o.Logger.Error("cluster store", "error", err)
	case err == nil && before != nil:
		n.o.Logger.Info("cluster store answers again")
	}
}

// bury destroys keys that were retired a while ago. n.mu is held.
func (n *Node) bury() {
	for len(n.dying) > 0 && time.Since(n.dying[0].since) > dyingFor {
		n.dying[0].k.Destroy()
		n.dying = n.dying[1:]
	}
}

// update reads the records, takes what is new, gets the keys that it lacks, and
// gives a sign of life. While other nodes are asked, nobody waits for it.
func (n *Node) update(ctx context.Context) error {
	if err := n.changed(ctx, func() error { return n.read(ctx) }); err != nil {
		return err
	}
	if err := n.fetchMissing(ctx); err != nil {
		return err
	}
	return n.changed(ctx, func() error {
		if err := n.promote(); err != nil {
			return err
		}
		return n.beat(ctx)
	})
}

// read brings what the node knows up to the store. n.changing is held.
func (n *Node) read(ctx context.Context) error {
	if err := n.readMembers(ctx); err != nil {
		return err
	}
	stored, err := n.readState(ctx)
	if err != nil {
		return err
	}
	if err := n.reconcile(ctx, stored); err != nil {
		return err
	}
	n.mu.Lock()
	n.looked = time.Now()
	n.mu.Unlock()
	return nil
}

// readState reads and checks all records.
func (n *Node) readState(ctx context.Context) (record.State, error) {
	read := func(prefix string) ([][]byte, error) {
		all, err := n.o.Store.List(ctx, prefix)
		var bs [][]byte
		for _, one := range all {
			bs = append(bs, one.Data)
		}
		return bs, err
	}
	// Retirements first: what they end is then there for certain.
	retirements, err := read(retiredPrefix)
	if err != nil {
		return record.State{}, err
	}
	generations, err := read(generationPrefix)
	if err != nil {
		return record.State{}, err
	}
	s, err := record.Build(generations, retirements, n.o.Config)
	if err != nil {
		return record.State{}, err
	}
	if first := s.Get(1); first != nil && first.Type != n.typ {
		return record.State{}, fmt.Errorf("%w: the cluster has master keys of type %s, this node is for %s", record.ErrRecord, first.Type, n.typ)
	}
	return s, nil
}

// reconcile compares the store with what the node has seen. A store that lost
// records gets them back; one that holds others is refused.
func (n *Node) reconcile(ctx context.Context, stored record.State) error {
	n.settle(stored)
	n.mu.RLock()
	known, unsettled := n.state, n.tentative
	n.mu.RUnlock()
	switch {
	case unsettled != nil && stored.Extends(known):
		// It was confirmed, sealed, and never came to the store.
		n.wake()
		return n.create(ctx, generationName(unsettled.g.Number), unsettled.g.Encode())
	case stored.Extends(known):
		return n.advance(stored)
	case known.Extends(stored):
		n.o.Logger.Warn("the cluster store lost records: this node brings them back", "generations", len(stored.Generations))
		return n.restore(ctx, known, stored)
	}
	return ErrRolledBack
}

// settle finds out what became of a generation of which that was not known.
func (n *Node) settle(stored record.State) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.tentative
	if t == nil {
		return
	}
	there := stored.Get(t.g.Number)
	switch {
	case there == nil && !stored.Extends(n.state):
		return // the store forgot, and perhaps this one too: it says nothing of what became of it
	case there == nil && n.tentative.g.After(stored.Newest()) == nil:
		return // reconcile tries again
	case there != nil && there.Hash() == t.g.Hash():
		n.keys[t.g.Number] = t.mk
	default:
		n.o.Logger.Warn("another generation took the place of one that this node made", "generation", int(t.g.Number))
		t.mk.Destroy()
	}
	n.tentative = nil
}

// advance takes a newer state, and seals it. What a retired key authenticated is
// read before that key is gone.
func (n *Node) advance(s record.State) error {
	if err := n.witness.loadBefore(s); err != nil {
		return err
	}
	n.mu.Lock()
	same := len(s.Generations) == len(n.state.Generations) && len(s.Retired) == len(n.state.Retired)
	n.state = s
	for g := range s.Retired {
		if k, held := n.keys[g]; held {
			delete(n.keys, g)
			n.dying = append(n.dying, dying{k, time.Now()})
		}
	}
	empty := len(n.keys) == 0
	n.mu.Unlock()
	if same || empty {
		return nil
	}
	return n.seal()
}

// restore puts records back that the store lost. They are signed, and nothing is
// overwritten.
func (n *Node) restore(ctx context.Context, known, stored record.State) error {
	for _, g := range known.Generations {
		if stored.Get(g.Number) == nil {
			if err := n.create(ctx, generationName(g.Number), g.Encode()); err != nil {
				return err
			}
		}
		if r := known.Retirement(g.Number); r != nil && !stored.Retired[g.Number] {
			if err := n.create(ctx, retiredName(g.Number), r); err != nil {
				return err
			}
		}
	}
	return nil
}

// create makes a value that is not there. Another node may do the same.
func (n *Node) create(ctx context.Context, name string, b []byte) error {
	_, err := n.o.Store.Commit(ctx, []kv.If{{Name: name}}, []kv.Put{{Name: name, Data: b}})
	return err
}

// readMembers reads who else there is.
func (n *Node) readMembers(ctx context.Context) error {
	all, err := n.o.Store.List(ctx, memberPrefix)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	seen := map[string]bool{}
	for _, one := range all[:min(len(all), maxMembers)] {
		var h hint
		if strictjson.Unmarshal(one.Data, &h) != nil || len(h.Address) > maxAddressBytes || memberPrefix+h.Address != one.Name {
			continue
		}
		if _, _, err := net.SplitHostPort(h.Address); err != nil {
			continue
		}
		seen[h.Address] = true
		if m := n.members[h.Address]; m == nil || m.revision != one.Revision {
			n.members[h.Address] = &member{h, one.Revision, time.Now()}
		}
	}
	for a := range n.members {
		if !seen[a] {
			delete(n.members, a)
		}
	}
	return nil
}

// beat gives a sign of life, and says how far this node is.
func (n *Node) beat(ctx context.Context) error {
	n.mu.RLock()
	h := hint{Address: n.o.Address, Generation: n.newestHeld()}
	m := n.members[h.Address]
	n.mu.RUnlock()
	if n.o.Listener == nil || h.Generation == 0 || m != nil && m.hint == h && time.Since(m.changed) < beatEvery {
		return nil
	}
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	_, err = n.o.Store.Commit(ctx, nil, []kv.Put{{Name: memberPrefix + h.Address, Data: b}})
	return err
}

// promote makes the newest generation current that the node holds, and that a
// majority of those who are alive hold too: nobody uses a generation that may be
// lost with one node.
func (n *Node) promote() error {
	n.mu.Lock()
	before := n.current
	for g := range n.keys {
		if g > n.current && n.state.Get(g) != nil && n.spread(g) {
			n.current = g
		}
	}
	changed := n.current != before
	n.mu.Unlock()
	if !changed {
		return nil
	}
	n.o.Logger.Info("master key generation is current", "generation", int(n.Current()))
	return errors.Join(n.seal(), n.write(n.Current(), "current from now on"))
}

// spread reports whether a majority of the nodes alive hold g. n.mu is held.
func (n *Node) spread(g kds.Generation) bool {
	alive, hold := 1, 1 // this node
	for a, m := range n.members {
		if a == n.o.Address || !m.alive() {
			continue
		}
		alive++
		if m.Generation >= g {
			hold++
		}
	}
	return 2*hold > alive
}

package cluster

import (
	"context"
	"crypto/hpke"
	"fmt"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/cluster/peer"
	"github.com/coffer-fs/coffer/kds/cluster/record"
)

// recovery is what a node that waits has of the custodians. The key lives in
// its enclave and ends with the process, or when the node has the master keys.
type recovery struct {
	sk       hpke.PrivateKey
	evidence attest.Evidence
	gathered map[kds.Generation]*record.Gathering
}

// recover begins to take shares, if that is not done yet. n.mu is held.
func (n *Node) recover() (*recovery, error) {
	if n.stateName() != Waiting {
		return nil, ErrNotWaiting
	}
	if n.recovery == nil {
		sk, err := hpke.MLKEM768X25519().GenerateKey()
		if err != nil {
			return nil, err
		}
		e, err := n.o.Platform.Quote(RecoveryData(n.o.Config.Cluster.Name, sk.PublicKey().Bytes()))
		if err != nil {
			return nil, err
		}
		n.recovery = &recovery{sk, e, map[kds.Generation]*record.Gathering{}}
	}
	for _, g := range n.missing() {
		if n.recovery.gathered[g.Number] == nil {
			n.recovery.gathered[g.Number] = g.Gather()
		}
	}
	return n.recovery, nil
}

// show is what custodians need. n.mu is held.
func (n *Node) showRecovery(r *recovery) *Recovery {
	out := &Recovery{Key: r.sk.PublicKey().Bytes(), Evidence: r.evidence}
	for _, g := range n.missing() {
		out.Records = append(out.Records, g.Encode())
	}
	out.Shares = n.shareStatus(r)
	return out
}

func (n *Node) shareStatus(r *recovery) []ShareStatus {
	var all []ShareStatus
	for _, g := range n.missing() {
		if s := r.gathered[g.Number]; s != nil {
			all = append(all, ShareStatus{g.Number, s.Have(), s.Need()})
		}
	}
	return all
}

// Share takes a custodian's shares. With enough of them, of every generation
// that is not retired, the node has the master keys again.
func (n *Node) Share(ctx context.Context, s Shares) ([]ShareStatus, error) {
	if !n.waiting() {
		return nil, ErrNotWaiting // before anybody waits for the store
	}
	if err := n.changing.lock(ctx); err != nil {
		return nil, err
	}
	defer n.changing.unlock()
	keys, status, err := n.gather(s)
	if err != nil {
		return status, err
	}
	for _, one := range status {
		if err := n.write(one.Generation, "share of custodian %s, %d of %d", s.Custodian, one.Have, one.Need); err != nil {
			keys.Destroy()
			return nil, err
		}
	}
	if keys == nil {
		return status, nil
	}
	if err := n.take(keys, "from the shares of custodians"); err != nil {
		return nil, err
	}
	n.o.Logger.Warn("master keys were recovered from the shares of custodians")
	return status, n.promote()
}

func (n *Node) waiting() bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.stateName() == Waiting
}

// gather adds shares; keys are not nil when there are enough.
func (n *Node) gather(s Shares) (peer.Keys, []ShareStatus, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, err := n.recover()
	if err != nil {
		return nil, nil, err
	}
	if len(s.Shares) == 0 {
		return nil, nil, fmt.Errorf("%w: none is given", record.ErrShare)
	}
	for _, one := range s.Shares {
		g := r.gathered[one.Generation]
		if g == nil {
			return nil, nil, fmt.Errorf("%w: of generation %d, which is not missing", record.ErrShare, one.Generation)
		}
		if err := g.Add(s.Custodian, r.sk, one.Sealed); err != nil {
			return nil, nil, err
		}
		n.o.Logger.Info("share of a custodian", "custodian", s.Custodian, "generation", int(one.Generation), "have", g.Have(), "need", g.Need())
	}
	status := n.shareStatus(r)
	for _, one := range status {
		if one.Need == 0 || one.Have < one.Need {
			return nil, status, nil
		}
	}
	keys := peer.Keys{}
	for _, g := range n.missing() {
		k, err := r.gathered[g.Number].Key()
		if err != nil {
			keys.Destroy()
			return nil, nil, err
		}
		keys[g.Number] = k
	}
	return keys, status, nil
}

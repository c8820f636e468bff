package cluster

import (
	"context"
	"fmt"

	"github.com/coffer-fs/coffer/kds/cluster/ledger"
	"github.com/coffer-fs/coffer/kds/cluster/record"
)

// Retire ends a generation that an operator signed the end of. It must not be
// the current one of this node.
func (n *Node) Retire(ctx context.Context, b []byte) error {
	r, err := record.ParseRetirement(b, n.o.Config)
	if err != nil {
		return err
	}
	if err := n.changing.lock(ctx); err != nil {
		return err
	}
	defer n.changing.unlock()
	n.mu.RLock()
	state, current := n.state, n.current
	n.mu.RUnlock()
	g, err := state.Find(r)
	switch {
	case err != nil:
		return err
	case state.Retired[g.Number]:
		return nil // done before: whoever shows it again has nothing written down
	case g.Number >= current:
		return fmt.Errorf("%w: generation %d is the current one of this node", ErrProposal, g.Number)
	}
	if err := n.write(g.Number, "to be retired, signed by an operator"); err != nil {
		return err
	}
	// What the retired key authenticated could not be read any more.
	if err := n.ledger.Update(ctx, nil, func(*ledger.Tx) error { return nil }); err != nil {
		return err
	}
	if err := n.create(ctx, retiredName(g.Number), b); err != nil {
		return err
	}
	n.wake()
	n.o.Logger.Info("master key generation was retired", "generation", int(g.Number))
	stored, err := n.readState(ctx)
	if err != nil {
		return err
	}
	return n.reconcile(ctx, stored)
}

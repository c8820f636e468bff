package cluster

import (
	"context"
	"time"

	"github.com/coffer-fs/coffer/kds/cluster/ledger"
)

// Ledger is the node's.
func (n *Node) Ledger() *ledger.Ledger { return n.ledger }

// ShareOrders compares the node's orders with the others'.
func (n *Node) ShareOrders(ctx context.Context) error { return n.shareOrders(ctx) }

// MaxProposals is how many proposals a node remembers.
const MaxProposals = maxProposals

// Age makes the proposals older.
func (n *Node) Age(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.proposals {
		p.at = p.at.Add(-d)
	}
}

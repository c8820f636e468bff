package cluster

import (
	"context"

	"github.com/coffer-fs/coffer/kds/cluster/ledger"
)

// Ledger is the node's.
func (n *Node) Ledger() *ledger.Ledger { return n.ledger }

// ShareOrders compares the node's orders with the others'.
func (n *Node) ShareOrders(ctx context.Context) error { return n.shareOrders(ctx) }

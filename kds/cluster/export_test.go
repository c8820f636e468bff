package cluster

import "github.com/coffer-fs/coffer/kds/cluster/ledger"

// Ledger is the node's.
func (n *Node) Ledger() *ledger.Ledger { return n.ledger }

package cluster

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/kds/cluster/ledger"
	"github.com/coffer-fs/coffer/key"
)

const forgetLabel = "coffer/cluster/v1/forgotten by the operator"

// Forget is the body of POST /cluster/forget: an operator's word that a node
// will not come back, so that the others are a majority without it.
type Forget struct {
	Address   string `json:"address"`
	Number    uint64 `json:"number"` // the one after that of the last such order
	Operator  []byte `json:"operator"`
	Signature []byte `json:"signature"`
}

func (f Forget) signed(cluster string) []byte {
	return key.Info(forgetLabel, []byte(cluster), []byte(f.Address), u64(f.Number))
}

// Forget takes a member that is lost out of those who remember the newest root.
// If it comes back, it enrols again.
func (n *Node) Forget(ctx context.Context, f Forget) error {
	if err := n.byOperator(f.Operator, f.signed(n.o.Config.Cluster.Name), f.Signature); err != nil {
		return err
	}
	if r, err := n.ledger.Peek(ctx); err != nil {
		return err
	} else if err := f.newer(r); err != nil {
		return err // nothing is written down for whoever shows an old order again
	}
	if err := n.write(0, "node %.*q to be forgotten, signed by operator %x", maxAddressBytes, f.Address, f.Operator); err != nil {
		return err
	}
	err := n.ledger.Force(ctx, func(t *ledger.Tx) error {
		r := t.Root()
		if err := f.newer(r); err != nil {
			return err
		}
		r.Forgotten = f.Number
		r.Members = slices.DeleteFunc(r.Members, func(m string) bool { return m == f.Address })
		return nil
	})
	if err == nil {
		n.o.Logger.Warn("a node was forgotten", "address", f.Address)
	}
	return err
}

// newer checks that the order is the next one, and is of a member.
func (f Forget) newer(r *ledger.Root) error {
	switch {
	case f.Number != r.Forgotten+1: // numbers cannot be used up by one order
		return fmt.Errorf("%w: order %d to forget a node, and the last was %d", ErrProposal, f.Number, r.Forgotten)
	case !slices.Contains(r.Members, f.Address):
		return fmt.Errorf("%w: no member has the address %q", ErrProposal, f.Address[:min(len(f.Address), maxAddressBytes)])
	}
	return nil
}

// Forget has a node forget another one, as an operator.
func (p Person) Forget(ctx context.Context, address string, number uint64, operator ed25519.PrivateKey) error {
	f := Forget{Address: address, Number: number, Operator: operator.Public().(ed25519.PublicKey)}
	f.Signature = ed25519.Sign(operator, f.signed(p.Config.Cluster.Name))
	return p.ask(ctx, "POST", ForgetPath, f, &struct{}{})
}

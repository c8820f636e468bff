package cluster

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/cluster/kv"
	"github.com/coffer-fs/coffer/kds/cluster/record"
	"github.com/coffer-fs/coffer/key"
)

const (
	// maxProposals is how many proposals a node remembers, and proposalFor how
	// long an operator may take to sign one. For proposalKept no other pushes it
	// out.
	maxProposals = 8
	proposalFor  = 10 * time.Minute
	proposalKept = time.Minute
	// maxNonces is how often operators may ask for the same generation.
	maxNonces = 1024
)

// byOperator checks that an operator of the measured configuration signed.
// Strangers go no further than this: they take no lock and make nobody wait.
func (n *Node) byOperator(operator, signed, signature []byte) error {
	switch {
	case len(operator) != ed25519.PublicKeySize || !n.o.Config.Operator(operator):
		return fmt.Errorf("%w: not signed by an operator of the measured configuration", record.ErrRecord)
	case !ed25519.Verify(operator, signed, signature):
		return fmt.Errorf("%w: the operator's signature does not match", record.ErrRecord)
	}
	return nil
}

// Propose makes a new master key, the first or the next, and the record of it
// for an operator to sign. It is nothing until it is confirmed.
func (n *Node) Propose(ctx context.Context, q Propose) (Proposal, error) {
	if err := n.byOperator(q.Operator, q.signed(n.o.Config.Cluster.Name), q.Signature); err != nil {
		return Proposal{}, err
	}
	if err := n.changing.lock(ctx); err != nil {
		return Proposal{}, err
	}
	defer n.changing.unlock()
	n.mu.Lock()
	next, id, err := n.next(q.Generation)
	if err == nil {
		err = n.forgetProposals()
	}
	if err == nil {
		err = n.once(q)
	}
	n.mu.Unlock()
	if err != nil {
		return Proposal{}, err
	}
	// Evidence takes its time, and keys are given meanwhile.
	mk := key.New()
	g, err := record.New(n.o.Config.Cluster, n.typ, id, mk, next)
	if err != nil {
		mk.Destroy()
		return Proposal{}, err
	}
	evidence, err := n.o.Platform.Quote(ProposalData(g.Hash()))
	if err != nil {
		mk.Destroy()
		return Proposal{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.proposals[g.Hash()] = &proposal{g, mk, time.Now()}
	return Proposal{Body: g.Body(), Evidence: evidence}, nil
}

// once takes a wish one time: whoever recorded it gets nothing for it. n.mu is held.
func (n *Node) once(q Propose) error {
	if len(q.Nonce) != nonceSize {
		return fmt.Errorf("%w: a nonce has %d bytes", ErrProposal, nonceSize)
	}
	if n.nonces.of != q.Generation { // next refuses those of before
		n.nonces.of, n.nonces.seen = q.Generation, map[[nonceSize]byte]bool{}
	}
	nonce := [nonceSize]byte(q.Nonce)
	switch {
	case n.nonces.seen[nonce]:
		return fmt.Errorf("%w: it was asked for before", ErrProposal)
	case len(n.nonces.seen) >= maxNonces:
		return fmt.Errorf("%w: %d for generation %d", ErrProposals, maxNonces, q.Generation)
	}
	n.nonces.seen[nonce] = true
	return nil
}

// nonces are those of the wishes for one generation.
type nonces struct {
	of   kds.Generation
	seen map[[nonceSize]byte]bool
}

// next is what a new generation comes after. n.mu is held.
func (n *Node) next(want kds.Generation) (*record.Next, record.ID, error) {
	newest := n.state.Newest()
	switch {
	case n.looked.IsZero() || n.storeErr != nil:
		return nil, record.ID{}, fmt.Errorf("%w: the store is not known: %v", ErrNoKey, n.storeErr)
	case n.tentative != nil:
		return nil, record.ID{}, fmt.Errorf("%w: generation %d is on its way", ErrBorn, n.tentative.g.Number)
	case newest == nil && want == 1:
		var id record.ID
		rand.Read(id[:])
		return nil, id, nil
	case newest == nil:
		return nil, record.ID{}, fmt.Errorf("%w: the cluster has no generation yet, asked for %d", ErrProposal, want)
	case want != newest.Number+1:
		return nil, record.ID{}, fmt.Errorf("%w: generation %d is the newest, asked for is a new generation %d", ErrBorn, newest.Number, want)
	case want > record.MaxGenerations:
		return nil, record.ID{}, fmt.Errorf("%w: a cluster has at most %d generations", ErrProposal, record.MaxGenerations)
	}
	k, held := n.keys[newest.Number]
	if !held {
		return nil, record.ID{}, fmt.Errorf("%w of generation %d", ErrNoKey, newest.Number)
	}
	return &record.Next{Generation: newest, Key: k}, newest.ID, nil
}

// forgetProposals makes room for another. ErrProposals. n.mu is held.
func (n *Node) forgetProposals() error {
	for len(n.proposals) > 0 {
		var oldest record.Hash
		var at time.Time
		for h, p := range n.proposals {
			if at.IsZero() || p.at.Before(at) {
				oldest, at = h, p.at
			}
		}
		switch age := time.Since(at); {
		case age >= proposalFor:
		case len(n.proposals) < maxProposals:
			return nil
		case age < proposalKept:
			return fmt.Errorf("%w: %d in the last %v", ErrProposals, maxProposals, proposalKept)
		}
		n.forgetProposal(oldest)
	}
	return nil
}

// forgetProposal destroys its key. n.mu is held.
func (n *Node) forgetProposal(h record.Hash) {
	n.proposals[h].mk.Destroy()
	delete(n.proposals, h)
}

// Confirm makes a proposal a generation. The order is: the operator's signature
// is checked, it is written down, the key is sealed, the record is created in the store if there is
// none. Only then does the node hold the key.
func (n *Node) Confirm(ctx context.Context, c Confirmation) (kds.Generation, error) {
	if len(c.Hash) != len(record.Hash{}) {
		return 0, ErrProposal
	}
	if err := n.byOperator(c.Operator, record.Hash(c.Hash).OperatorBytes(), c.Signature); err != nil {
		return 0, err
	}
	if err := n.changing.lock(ctx); err != nil {
		return 0, err
	}
	defer n.changing.unlock()
	p, err := n.confirmed(c)
	if err != nil {
		return 0, err
	}
	// Not sealed before it is written down: what is sealed is made after a restart.
	err = n.write(p.g.Number, "to be made: record %x, signed by operator %x", p.g.Hash(), c.Operator)
	if err == nil {
		err = n.seal()
	}
	if err != nil {
		n.drop(p)
		return 0, err
	}
	name := generationName(p.g.Number)
	ifs := []kv.If{{Name: name}}
	made, err := n.o.Store.Commit(ctx, ifs, []kv.Put{{Name: name, Data: p.g.Encode()}})
	n.wake() // whatever happened, look
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: whether generation %d was made is unknown yet", err, p.g.Number)
	case !made:
		n.drop(p)
		return 0, fmt.Errorf("%w: another node was first", ErrBorn)
	}
	n.o.Logger.Info("master key generation was made", "generation", int(p.g.Number))
	return p.g.Number, n.accept(p)
}

// confirmed takes the proposal that an operator signed, and makes it tentative.
func (n *Node) confirmed(c Confirmation) (*proposal, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := record.Hash(c.Hash)
	p := n.proposals[h]
	if p == nil {
		return nil, ErrProposal
	}
	if time.Since(p.at) >= proposalFor {
		n.forgetProposal(h)
		return nil, fmt.Errorf("%w any more: it is older than %v, propose another", ErrProposal, proposalFor)
	}
	p.g.Confirm(c.Operator, c.Signature)
	g, err := record.Parse(p.g.Encode(), n.o.Config)
	if err != nil {
		return nil, err
	}
	if err := g.After(n.state.Newest()); err != nil || n.tentative != nil {
		return nil, fmt.Errorf("%w: a generation was made meanwhile", ErrBorn)
	}
	delete(n.proposals, h)
	n.tentative = &proposal{g: g, mk: p.mk}
	return n.tentative, nil
}

// drop forgets a tentative generation that is not in the store for certain.
func (n *Node) drop(p *proposal) {
	n.mu.Lock()
	n.tentative = nil
	empty := len(n.keys) == 0
	n.mu.Unlock()
	p.mk.Destroy()
	if !empty {
		if err := n.seal(); err != nil {
			n.o.Logger.Error("seal", "error", err)
		}
	}
}

// accept takes a generation that is in the store.
func (n *Node) accept(p *proposal) error {
	n.mu.Lock()
	generations, retirements := n.state.Encode()
	n.mu.Unlock()
	state, err := record.Build(append(generations, p.g.Encode()), retirements, n.o.Config)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.state, n.tentative, n.keys[p.g.Number] = state, nil, p.mk
	n.mu.Unlock()
	if p.g.Number == 1 {
		return n.promote() // there is nobody else yet
	}
	return n.seal()
}

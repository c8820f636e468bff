package cluster

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"sort"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/cluster/record"
	"github.com/coffer-fs/coffer/kds/internal/strictjson"
	"github.com/coffer-fs/coffer/kds/server"
)

// Routes are what the node serves to people, beside the protocol. None of it is
// secret; what changes something is signed by an operator, or is a share.
func (n *Node) Routes() map[string]server.Route {
	return map[string]server.Route{
		StatusPath:  {Method: http.MethodGet, Serve: func(ctx context.Context, _ []byte) (any, error) { return n.status(ctx) }},
		ProposePath: post(func(ctx context.Context, q Propose) (any, error) { return n.Propose(ctx, q) }),
		ConfirmPath: post(func(ctx context.Context, q Confirmation) (any, error) {
			g, err := n.Confirm(ctx, q)
			return map[string]kds.Generation{"generation": g}, err
		}),
		RetirePath: post(func(ctx context.Context, q Retire) (any, error) {
			return struct{}{}, n.Retire(ctx, q.Record)
		}),
		ForgetPath: post(func(ctx context.Context, q Forget) (any, error) {
			return struct{}{}, n.Forget(ctx, q)
		}),
		SharePath: post(func(ctx context.Context, q Shares) (any, error) {
			s, err := n.Share(ctx, q)
			return map[string][]ShareStatus{"shares": s}, err
		}),
	}
}

func post[Q any](f func(context.Context, Q) (any, error)) server.Route {
	return server.Route{Method: http.MethodPost, Serve: func(ctx context.Context, body []byte) (any, error) {
		var q Q
		if err := strictjson.Unmarshal(body, &q); err != nil {
			return nil, server.Refuse(http.StatusBadRequest, err)
		}
		a, err := f(ctx, q)
		if err == nil {
			return a, nil
		}
		return nil, refusal(err)
	}}
}

// refusal says what may be told of an error, and with which status.
func refusal(err error) error {
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return server.Refuse(s.status, err)
		}
	}
	if errors.Is(err, record.ErrRecord) || errors.Is(err, record.ErrShare) || errors.Is(err, record.ErrNotCustodian) || errors.Is(err, attest.ErrEvidence) {
		return server.Refuse(http.StatusForbidden, err)
	}
	return err
}

// status is Status, with what the store says of witnesses.
func (n *Node) status(ctx context.Context) (Status, error) {
	s, err := n.Status()
	if err != nil || s.State != Member {
		return s, err
	}
	r, err := n.ledger.Peek(ctx)
	if err != nil {
		s.Store = err.Error()
		return s, nil
	}
	s.Witnesses, s.Forgotten = r.Members, r.Forgotten
	return s, nil
}

// Status is how the node is.
func (n *Node) Status() (Status, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Status{Cluster: n.o.Config.Cluster.Name, State: n.stateName(), MasterKeyType: n.typ, Current: n.current}
	if n.storeErr != nil {
		s.Store = n.storeErr.Error()
	}
	for _, g := range n.state.Generations {
		_, held := n.keys[g.Number]
		h := g.Hash()
		s.Generations = append(s.Generations, GenerationStatus{g.Number, hex.EncodeToString(h[:]), hex.EncodeToString(g.Commitment), held, n.state.Retired[g.Number]})
	}
	for _, m := range n.members {
		s.Members = append(s.Members, MemberStatus{m.Address, m.Generation, m.alive()})
	}
	sort.Slice(s.Members, func(i, j int) bool { return s.Members[i].Address < s.Members[j].Address })
	if s.State != Waiting {
		return s, nil
	}
	r, err := n.recover()
	if err != nil {
		return Status{}, err
	}
	s.Recovery = n.showRecovery(r)
	return s, nil
}

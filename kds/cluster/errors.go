package cluster

import (
	"errors"
	"net/http"

	"github.com/coffer-fs/coffer/kds/cluster/ledger"
)

// Starting and running.
var (
	// ErrOptions: something that a node of a cluster needs is missing.
	ErrOptions = errors.New("cluster node is not set up")
	// ErrSealed: the node's sealed file is damaged, or not for this enclave on
	// this machine.
	ErrSealed = errors.New("sealed master keys do not open")
	// ErrRolledBack: the store has older records than this node has seen, or
	// other ones.
	ErrRolledBack = errors.New("cluster store is older than what this node has seen")
	// ErrNoKey: the node has no master key yet.
	ErrNoKey = errors.New("node has no master key")
)

// Asked by people.
var (
	// ErrBorn: the cluster has a master key already.
	ErrBorn = errors.New("the cluster has a master key already")
	// ErrProposal: what is confirmed is not what this node proposed.
	ErrProposal = errors.New("not a proposal of this node")
	// ErrProposals: too many proposals wait for an operator.
	ErrProposals = errors.New("too many proposals wait to be signed, ask again in a minute")
	// ErrNotWaiting: the node has the master keys, and needs no shares.
	ErrNotWaiting = errors.New("node has the master keys already")
	// ErrBusy: whoever asked was gone before it was his turn.
	ErrBusy = errors.New("node is busy with another change")
)

// statuses of HTTP for those who ask; anything else is 503.
var statuses = []struct {
	err    error
	status int
}{
	{ErrBorn, http.StatusConflict},
	{ErrProposal, http.StatusConflict},
	{ErrProposals, http.StatusTooManyRequests},
	{ErrNotWaiting, http.StatusConflict},
	{ErrBusy, http.StatusServiceUnavailable},
	{ErrNoKey, http.StatusServiceUnavailable},
	{ledger.ErrNoMajority, http.StatusServiceUnavailable},
	{ledger.ErrOlder, http.StatusServiceUnavailable},
}

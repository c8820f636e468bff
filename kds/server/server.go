// Package server is a KDS node: an http.Handler that gives keys to enclaves.
//
// Every request for a key takes the same six steps, in this order, each a file:
//
//	limit      how many, how large, how slow, how often limit.go, rates.go
//	decode     strict JSON of the protocol              handler.go
//	identify   evidence, over this very request         private.go
//	decide     rules, operator's orders, spec's policy  decide.go, orders.go
//	audit      the decision is on the disk              private.go
//	answer     sealed to the asker, signed by the node  private.go
//
// It promises that no key leaves without evidence that meets the policy and
// without an audit line on the disk; that a development key never leaves for a
// release enclave; that simulated evidence never gets another key than a
// development key, and nothing from a release node; and that nobody outside
// makes it use memory, processors or time without bound. It keeps no state but
// the audit log: a node is as good as any other with the same master key.
//
// Imported by cmd/coffer-kds and kds/kdstest.
package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/orders"
)

// Limits of a node.
const (
	// DefaultBodyTimeout is how long a request's body may take.
	DefaultBodyTimeout = 5 * time.Second
	// DefaultMaxRequests is how many requests are read and answered at once.
	// With kds.MaxRequestBytes each it bounds memory.
	DefaultMaxRequests = 128
	// MaxQueueTime is how long a request waits for a processor.
	MaxQueueTime = 5 * time.Second
	// EvidenceMaxAge is how old the node's own evidence may become.
	EvidenceMaxAge = time.Hour
)

// ErrOptions: something that a node needs is missing.
var ErrOptions = errors.New("KDS node is not set up")

// Auditor is where decisions are written; *audit.Log is one. Append returns
// when the entry is on the disk.
type Auditor interface {
	Append(audit.Entry) error
	Err() error
}

// Options of a node.
type Options struct {
	// Platform is the node's own enclave. Required.
	Platform attest.Platform
	// Verifier reads the askers' evidence. Required.
	Verifier attest.Verifier
	// Masters are the master keys, at most one of each type. Required.
	Masters []master.Provider
	// Audit is told of every decision before it is answered. Required.
	Audit Auditor
	// Anchors is where it is remembered how far volumes have come. Default:
	// nowhere, and askers are told so.
	Anchors anchor.Store

	// Orders are the operator's. Default none: nobody can give any.
	Orders *orders.Keeper
	// Rate, IdentityRate and AnchorRate are how many requests a second are
	// served in all, how many keys a second one enclave gets, and how many
	// requests a second there may be for anchors of one spec. Default
	// DefaultRate, DefaultIdentityRate, DefaultAnchorRate.
	Rate, IdentityRate, AnchorRate int

	// Routes are served beside those of the protocol, at their paths, with the
	// same limits. Default none.
	Routes map[string]Route
	// Logger is told of requests. Default silent. It is not the audit log.
	Logger *slog.Logger
	// Now is the clock for EXPIRE. Default time.Now.
	Now func() time.Time
	// BodyTimeout is how long a body may take. Default DefaultBodyTimeout.
	BodyTimeout time.Duration
	// MaxRequests is how many requests are served at once. Default
	// DefaultMaxRequests.
	MaxRequests int
}

// Server is a node.
type Server struct {
	o        Options
	masters  map[kds.MasterKeyType]master.Provider
	response *responder
	reading  slots // requests being read or answered
	working  slots // requests that use a processor
	others   slots // requests with a body that are not of the protocol
	rates    *rates
	metrics  *metrics
	routes   map[string]route
	auditKey *witness // of the key that signs the audit log, nil if it is not signed
}

var _ http.Handler = (*Server)(nil)

// New makes a node, with a new response key and evidence over it.
func New(o Options) (*Server, error) {
	if o.Platform == nil || o.Verifier == nil || o.Audit == nil || len(o.Masters) == 0 {
		return nil, fmt.Errorf("%w: it needs a platform, a verifier, an audit log and a master key", ErrOptions)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.BodyTimeout <= 0 {
		o.BodyTimeout = DefaultBodyTimeout
	}
	if o.MaxRequests <= 0 {
		o.MaxRequests = DefaultMaxRequests
	}
	s := &Server{o: o, masters: map[kds.MasterKeyType]master.Provider{},
		reading: make(slots, o.MaxRequests), working: make(slots, 2*runtime.GOMAXPROCS(0)),
		others: make(slots, max(1, o.MaxRequests/8))}
	for _, m := range o.Masters {
		if s.masters[m.Type()] != nil {
			return nil, fmt.Errorf("%w: two master keys of type %s", ErrOptions, m.Type())
		}
		s.masters[m.Type()] = m
	}
	s.rates, s.metrics = newRates(orDefault(o.Rate, DefaultRate), orDefault(o.IdentityRate, DefaultIdentityRate), orDefault(o.AnchorRate, DefaultAnchorRate)), newMetrics(s)
	s.routes = s.table()
	var err error
	if s.response, err = newResponder(o.Platform, o.Now, o.Logger); err != nil {
		return nil, err
	}
	if l, ok := o.Audit.(signedLog); ok {
		s.auditKey = newWitness(o.Platform, audit.KeyData(l.Head().Key), o.Now, o.Logger)
	}
	if n := s.orders().Number; n > 0 {
		if err := o.Audit.Append(audit.Entry{Event: audit.Ordered, Orders: n, Reason: "in force at the start"}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func orDefault(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}
